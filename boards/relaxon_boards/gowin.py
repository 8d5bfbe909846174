"""Amaranth's Gowin platforms with today's place and route (nextpnr-himbaechel)."""

from amaranth.vendor import GowinPlatform
from amaranth_boards.tang_nano_9k import TangNano9kPlatform
from amaranth_boards.tang_primer_20k import TangPrimer20kPlatform

__all__ = ["TangNano9k", "TangPrimer20k"]


class Himbaechel(GowinPlatform):
    """Amaranth 0.5 knows nextpnr-gowin, which is gone."""

    @property
    def required_tools(self) -> list[str]:
        return ["yosys", "nextpnr-himbaechel", "gowin_pack"]

    @property
    def command_templates(self) -> list[str]:
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
        return [synthesis, place, pack]


class TangNano9k(Himbaechel, TangNano9kPlatform):
    pass


class TangPrimer20k(Himbaechel, TangPrimer20kPlatform):
    pass
