// ECP5 primitives that yosys has no models of, in the modes in which relaxon and yosys use them:
// one clock, no resets. Other modes stop the simulation.

// A signed 18 x 18 multiplier with its registers.
module MULT18X18D (
    input CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
    output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17, P18, P19,
    output P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter GSR = "ENABLED";

    wire signed [17:0] a_in = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3,
                               A2, A1, A0};
    wire signed [17:0] b_in = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3,
                               B2, B1, B0};
    reg signed [17:0] a_reg, b_reg;
    reg signed [35:0] p_reg, o_reg;
    wire signed [17:0] a = REG_INPUTA_CLK == "NONE" ? a_in : a_reg;
    wire signed [17:0] b = REG_INPUTB_CLK == "NONE" ? b_in : b_reg;
    wire signed [18:0] a_wide = {SIGNEDA && a[17], a}, b_wide = {SIGNEDB && b[17], b};
    wire signed [35:0] product = a_wide * b_wide;
    wire signed [35:0] p = REG_PIPELINE_CLK == "NONE" ? product : p_reg;
    wire signed [35:0] o = REG_OUTPUT_CLK == "NONE" ? p : o_reg;
    always @(posedge CLK0) begin
        a_reg <= a_in;
        b_reg <= b_in;
        p_reg <= product;
        o_reg <= p;
        if (!CE0 || RST0 || SOURCEA || SOURCEB) $fatal(1, "MULT18X18D: a mode without a model");
    end
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
                P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1,
                P0} = o;
endmodule

// A block RAM of 18 kb: two ports of 1 to 18 bits, or one to write and one to read 36. What a port
// reads at a word that the other one writes is undefined: here, its complement.
module DP16KD (
    input CLKA, CEA, OCEA, WEA, RSTA, CSA0, CSA1, CSA2,
    input CLKB, CEB, OCEB, WEB, RSTB, CSB0, CSB1, CSB2,
    input ADA0, ADA1, ADA2, ADA3, ADA4, ADA5, ADA6, ADA7, ADA8, ADA9, ADA10, ADA11, ADA12, ADA13,
    input DIA0, DIA1, DIA2, DIA3, DIA4, DIA5, DIA6, DIA7, DIA8, DIA9, DIA10, DIA11, DIA12, DIA13,
    input DIA14, DIA15, DIA16, DIA17,
    output DOA0, DOA1, DOA2, DOA3, DOA4, DOA5, DOA6, DOA7, DOA8, DOA9, DOA10, DOA11, DOA12, DOA13,
    output DOA14, DOA15, DOA16, DOA17,
    input ADB0, ADB1, ADB2, ADB3, ADB4, ADB5, ADB6, ADB7, ADB8, ADB9, ADB10, ADB11, ADB12, ADB13,
    input DIB0, DIB1, DIB2, DIB3, DIB4, DIB5, DIB6, DIB7, DIB8, DIB9, DIB10, DIB11, DIB12, DIB13,
    input DIB14, DIB15, DIB16, DIB17,
    output DOB0, DOB1, DOB2, DOB3, DOB4, DOB5, DOB6, DOB7, DOB8, DOB9, DOB10, DOB11, DOB12, DOB13,
    output DOB14, DOB15, DOB16, DOB17
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "ENABLED";
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0,
        INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0,
        INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0, INITVAL_0C = 0, INITVAL_0D = 0,
        INITVAL_0E = 0, INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0,
        INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
        INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0,
        INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0,
        INITVAL_22 = 0, INITVAL_23 = 0, INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0,
        INITVAL_27 = 0, INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0,
        INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0, INITVAL_30 = 0,
        INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0,
        INITVAL_36 = 0, INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0,
        INITVAL_3B = 0, INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;

    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2,
                       ADA1, ADA0};
    wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2,
                       ADB1, ADB0};
    wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7,
                       DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7,
                       DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    reg [17:0] words [0:1023];
    reg [17:0] a_word, b_word, a_out, b_out;

    // Sixteen words of 20 bits each, of which 18 are there.
    localparam [64 * 320 - 1:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
        INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
        INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
        INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
        INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
        INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00
    };
    integer i;
    initial for (i = 0; i < 1024; i = i + 1) words[i] = INIT[20 * i +: 18];

    // The lowest bit of a word that an address means, and the bits from there on.
    function integer low(input integer width, input [3:0] address);
        case (width)
            1: low = 9 * address[3] + address[2:0];
            2: low = 9 * address[3] + 2 * address[2:1];
            4: low = 9 * address[3] + 4 * address[2];
            9: low = 9 * address[3];
            default: low = 0;
        endcase
    endfunction
    function [17:0] mask(input integer width, input [3:0] address);
        if (width >= 18) mask = {{9{address[1]}}, {9{address[0]}}}; // enables of its bytes
        else mask = ((18'd1 << width) - 18'd1) << low(width, address);
    endfunction

    wire [9:0] a_at = DATA_WIDTH_A == 36 ? {ada[13:5], 1'b0} : ada[13:4];
    wire [9:0] b_at = DATA_WIDTH_B == 36 ? {adb[13:5], 1'b0} : adb[13:4];
    wire [4:0] a_low = low(DATA_WIDTH_A, ada[3:0]), b_low = low(DATA_WIDTH_B, adb[3:0]);
    wire [17:0] a_mask = mask(DATA_WIDTH_A, ada[3:0]);
    wire [17:0] b_mask = mask(DATA_WIDTH_B, adb[3:0]);
    wire [17:0] high_mask = {{9{ada[3]}}, {9{ada[2]}}};
    wire a_write = CEA && WEA;
    wire b_write = CEB && WEB && DATA_WIDTH_B != 36;
    wire a_hit = b_write && b_at == a_at;
    wire b_hit = a_write && (DATA_WIDTH_A == 36 ? a_at[9:1] == b_at[9:1] : a_at == b_at);

    always @(posedge CLKA) begin
        if (a_write) words[a_at] <= (words[a_at] & ~a_mask) | ((dia << a_low) & a_mask);
        if (a_write && DATA_WIDTH_A == 36)
            words[a_at | 10'd1] <= (words[a_at | 10'd1] & ~high_mask) | (dib & high_mask);
        if (b_write) words[b_at] <= (words[b_at] & ~b_mask) | ((dib << b_low) & b_mask);
        if (CEA && !(WEA && WRITEMODE_A == "NORMAL"))
            a_word <= (words[a_at] >> a_low) ^ {18{a_hit}};
        if (CEB && DATA_WIDTH_B == 36) begin
            a_word <= words[b_at] ^ {18{b_hit}};
            b_word <= words[b_at | 10'd1] ^ {18{b_hit}};
        end else if (CEB && !(WEB && WRITEMODE_B == "NORMAL"))
            b_word <= (words[b_at] >> b_low) ^ {18{b_hit}};
        if (DATA_WIDTH_B == 36 ? OCEB : OCEA) a_out <= a_word;
        if (OCEB) b_out <= b_word;
        if (RSTA || RSTB || CSA0 || CSA1 || CSA2 || CSB0 || CSB1 || CSB2)
            $fatal(1, "DP16KD: a mode without a model");
    end
    wire [17:0] a = (DATA_WIDTH_B == 36 ? REGMODE_B : REGMODE_A) == "NOREG" ? a_word : a_out;
    wire [17:0] b = REGMODE_B == "NOREG" ? b_word : b_out;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6,
                DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = a;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6,
                DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = b;
    initial if ((WRITEMODE_A != "NORMAL" && WRITEMODE_A != "READBEFOREWRITE")
                || (WRITEMODE_B != "NORMAL" && WRITEMODE_B != "READBEFOREWRITE")
                || CLKAMUX != "CLKA" || CLKBMUX != "CLKB" || CSDECODE_A != "0b000"
                || CSDECODE_B != "0b000")
        $fatal(1, "DP16KD: a mode without a model");
endmodule

// A cell that a netlist has thousands of: as yosys' model, and many times faster.
module LUT4 (input A, B, C, D, output Z);
    parameter [15:0] INIT = 0;
    assign Z = INIT[{D, C, B, A}];
endmodule
