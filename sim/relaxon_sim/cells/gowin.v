// Gowin primitives that yosys has no models of, in the modes in which yosys uses them: a multiplier
// without registers; a block RAM with one clock, without the register at its output (which works at
// few widths in a GW1NR-9C and a GW2A-18C, apicula #251) and without a reset (yosys #6163). Other
// modes stop the simulation.

// A multiplier of 18 x 18 bits.
module MULT18X18 (
    input [17:0] A, SIA, B, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [35:0] DOUT,
    output [17:0] SOA, SOB
);
    parameter AREG = 1'b0, BREG = 1'b0, OUT_REG = 1'b0, PIPE_REG = 1'b0;
    parameter ASIGN_REG = 1'b0, BSIGN_REG = 1'b0, SOA_REG = 1'b0;
    parameter MULT_RESET_MODE = "SYNC";

    wire signed [18:0] a = {ASIGN && A[17], A}, b = {BSIGN && B[17], B};
    wire signed [37:0] product = a * b;
    assign DOUT = product[35:0];
    always @*
        if (AREG || BREG || OUT_REG || PIPE_REG || ASEL || BSEL)
            $fatal(1, "MULT18X18: a mode without a model");
endmodule

// The 2048 bytes of 9 bits in a block RAM, behind two ports of 9, 18 or 36 bits. What a port shows
// when it writes, or where the other one writes, is undefined: here, a complement.
module GOWIN_BYTES (
    input CLK,
    input A_ON, A_WRITE, input [13:0] A_AD, input [35:0] A_DI, output reg [35:0] A_DO,
    input B_ON, B_WRITE, input [13:0] B_AD, input [35:0] B_DI, output reg [35:0] B_DO
);
    parameter A_WIDTH = 18, B_WIDTH = 18;
    parameter [18431:0] INIT = 0;

    reg [8:0] bytes [0:2047];
    integer i;
    initial begin
        for (i = 0; i < 2048; i = i + 1) bytes[i] = INIT[9 * i +: 9];
        A_DO = 0;
        B_DO = 0;
        if ((A_WIDTH != 9 && A_WIDTH != 18 && A_WIDTH != 36)
            || (B_WIDTH != 9 && B_WIDTH != 18 && B_WIDTH != 36))
            $fatal(1, "a block RAM of a width without a model");
    end

    // The first byte of the word that an address means, and which of its bytes are written.
    function [10:0] first(input integer width, input [13:0] address);
        first = address[13:3] & ~(width == 36 ? 11'd3 : width == 18 ? 11'd1 : 11'd0);
    endfunction
    function [3:0] enables(input integer width, input [3:0] address);
        enables = width == 36 ? address : width == 18 ? address & 4'd3 : 4'd1;
    endfunction
    wire [10:0] a = first(A_WIDTH, A_AD), b = first(B_WIDTH, B_AD);
    wire [3:0] a_bytes = A_ON && A_WRITE ? enables(A_WIDTH, A_AD[3:0]) : 4'd0;
    wire [3:0] b_bytes = B_ON && B_WRITE ? enables(B_WIDTH, B_AD[3:0]) : 4'd0;
    // Whether the other port, which begins at ``at``, writes a byte.
    function hit(input [10:0] one, input [10:0] at, input [3:0] written);
        hit = one - at < 11'd4 && written[2'(one - at)];
    endfunction

    always @(posedge CLK) begin
        for (i = 0; i < 4; i = i + 1) begin
            if (a_bytes[i]) bytes[a + i[10:0]] <= A_DI[9 * i +: 9];
            if (b_bytes[i]) bytes[b + i[10:0]] <= B_DI[9 * i +: 9];
            if (A_ON && 9 * i < A_WIDTH)
                A_DO[9 * i +: 9] <= A_WRITE ? ~A_DO[9 * i +: 9]
                    : bytes[a + i[10:0]] ^ {9{hit(a + i[10:0], b, b_bytes)}};
            if (B_ON && 9 * i < B_WIDTH)
                B_DO[9 * i +: 9] <= B_WRITE ? ~B_DO[9 * i +: 9]
                    : bytes[b + i[10:0]] ^ {9{hit(b + i[10:0], a, a_bytes)}};
        end
    end
endmodule

`define INIT_RAM_PARAMETERS parameter [287:0] \
    INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0, INIT_RAM_04 = 0, \
    INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0, INIT_RAM_08 = 0, INIT_RAM_09 = 0, \
    INIT_RAM_0A = 0, INIT_RAM_0B = 0, INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, \
    INIT_RAM_0F = 0, INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0, \
    INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0, INIT_RAM_18 = 0, \
    INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0, INIT_RAM_1C = 0, INIT_RAM_1D = 0, \
    INIT_RAM_1E = 0, INIT_RAM_1F = 0, INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, \
    INIT_RAM_23 = 0, INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0, \
    INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0, INIT_RAM_2C = 0, \
    INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0, INIT_RAM_30 = 0, INIT_RAM_31 = 0, \
    INIT_RAM_32 = 0, INIT_RAM_33 = 0, INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, \
    INIT_RAM_37 = 0, INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0, \
    INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0
`define INIT_RAM_WORDS { \
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, \
        INIT_RAM_38, INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, \
        INIT_RAM_31, INIT_RAM_30, INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, \
        INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, \
        INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, \
        INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, INIT_RAM_17, INIT_RAM_16, \
        INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, INIT_RAM_0F, \
        INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08, \
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, \
        INIT_RAM_00 }

// A block RAM of two ports.
module DPX9B (
    input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB,
    input [13:0] ADA, ADB,
    input [17:0] DIA, DIB,
    input [2:0] BLKSELA, BLKSELB,
    output [17:0] DOA, DOB
);
    parameter READ_MODE0 = 1'b0, READ_MODE1 = 1'b0;
    parameter WRITE_MODE0 = 2'b00, WRITE_MODE1 = 2'b00;
    parameter BIT_WIDTH_0 = 18, BIT_WIDTH_1 = 18;
    parameter BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `INIT_RAM_PARAMETERS;

    wire [35:0] a, b;
    assign DOA = a[17:0];
    assign DOB = b[17:0];
    GOWIN_BYTES #(.A_WIDTH(BIT_WIDTH_0), .B_WIDTH(BIT_WIDTH_1), .INIT(`INIT_RAM_WORDS)) bytes (
        .CLK(CLKA),
        .A_ON(CEA), .A_WRITE(WREA), .A_AD(ADA), .A_DI({18'd0, DIA}), .A_DO(a),
        .B_ON(CEB), .B_WRITE(WREB), .B_AD(ADB), .B_DI({18'd0, DIB}), .B_DO(b)
    );
    always @(posedge CLKA)
        if (READ_MODE0 || READ_MODE1 || RESETA || RESETB || BLKSELA != BLK_SEL_0
            || BLKSELB != BLK_SEL_1) $fatal(1, "DPX9B: a mode without a model");
endmodule

// A block RAM that writes at port A and reads at port B.
module SDPX9B (
    input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB,
    input [13:0] ADA, ADB,
    input [2:0] BLKSELA, BLKSELB,
    input [35:0] DI,
    output [35:0] DO
);
    parameter READ_MODE = 1'b0;
    parameter BIT_WIDTH_0 = 36, BIT_WIDTH_1 = 36;
    parameter BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000;
    parameter RESET_MODE = "SYNC";
    `INIT_RAM_PARAMETERS;

    GOWIN_BYTES #(.A_WIDTH(BIT_WIDTH_0), .B_WIDTH(BIT_WIDTH_1), .INIT(`INIT_RAM_WORDS)) bytes (
        .CLK(CLKA),
        .A_ON(CEA), .A_WRITE(1'b1), .A_AD(ADA), .A_DI(DI), .A_DO(),
        .B_ON(CEB), .B_WRITE(1'b0), .B_AD(ADB), .B_DI(36'd0), .B_DO(DO)
    );
    always @(posedge CLKA)
        if (READ_MODE || RESETA || RESETB || BLKSELA != BLK_SEL_0 || BLKSELB != BLK_SEL_1)
            $fatal(1, "SDPX9B: a mode without a model");
endmodule

// A block RAM of one port.
module SPX9 (
    input CLK, CE, OCE, RESET, WRE,
    input [13:0] AD,
    input [35:0] DI,
    input [2:0] BLKSEL,
    output [35:0] DO
);
    parameter READ_MODE = 1'b0;
    parameter WRITE_MODE = 2'b00;
    parameter BIT_WIDTH = 36;
    parameter BLK_SEL = 3'b000;
    parameter RESET_MODE = "SYNC";
    `INIT_RAM_PARAMETERS;

    GOWIN_BYTES #(.A_WIDTH(BIT_WIDTH), .B_WIDTH(9), .INIT(`INIT_RAM_WORDS)) bytes (
        .CLK(CLK),
        .A_ON(CE), .A_WRITE(WRE), .A_AD(AD), .A_DI(DI), .A_DO(DO),
        .B_ON(1'b0), .B_WRITE(1'b0), .B_AD(14'd0), .B_DI(36'd0), .B_DO()
    );
    always @(posedge CLK)
        if (READ_MODE || RESET || BLKSEL != BLK_SEL) $fatal(1, "SPX9: a mode without a model");
endmodule
