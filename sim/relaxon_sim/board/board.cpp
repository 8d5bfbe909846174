// The virtual board: the verilated design, its UART pins on a pseudo-terminal.
//
//   board [--watch-stdin] [--stats] [--vcd FILE | --fst FILE]
//
// Prints the pseudo-terminal's path, then moves bytes between it and the design's pins until
// SIGTERM, SIGINT or SIGHUP (or, with --watch-stdin, until stdin ends: the parent is gone).
// SIGUSR1 makes a break on the line to the design: it is low for a byte's time and its stop bit's.
// --stats prints a line of JSON at the end. Waveforms need a build with VM_TRACE_VCD or _FST.
//
// The design's members: clk, rx, tx, quiet; with SAMPLE_MEMORY those of `chip`. While `quiet` is high and no byte is on its way,
// nothing can change but by a byte from outside, so simulated time stands still and the process
// sleeps in poll().

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include "Vtop.h"
#include "verilated.h"
#if VM_TRACE_VCD
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#elif VM_TRACE_FST
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#endif

#ifndef DIVISOR
#error "DIVISOR: clocks a bit"
#endif

namespace {

// Cycles between looks at the pseudo-terminal: 1 % of the time, and 0.2 ms of latency at most.
constexpr int kSlice = 512;
// Cycles that `quiet` must last: longer than any pipeline, should it rise a little early, and than
// the pause after which the last bytes are handed on.
constexpr int kSettle = 20 * DIVISOR + 64;
// Bytes that nobody reads, after which the design waits for a reader.
constexpr size_t kBacklog = 1 << 16;
constexpr size_t kAhead = 1 << 12;
// Bytes that go to the reader even while more come: waking it for each costs more than the bytes.
constexpr size_t kFlush = 256;

[[noreturn]] void die(const char* what) {
    std::fprintf(stderr, "board: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

// A transmitter of 8N1: `level` is asked once a clock.
class Sender {
public:
    std::deque<uint8_t> bytes;
    uint64_t sent = 0;

    // Before the next byte the line is low for the ten bits of one, then high again.
    void break_line() { broken_ = true; }

    bool idle() const { return bits_ == 0 && clocks_ == 0 && bytes.empty() && !broken_; }

    bool level() {
        if (clocks_ == 0) {
            if (bits_ == 0) {
                if (broken_) {
                    broken_ = false;
                    frame_ = 0x400;
                    bits_ = 11;
                } else if (bytes.empty()) {
                    return true;
                } else {
                    frame_ = 0x200u | (uint32_t{bytes.front()} << 1);
                    bytes.pop_front();
                    bits_ = 10;
                    ++sent;
                }
            }
            level_ = frame_ & 1;
            frame_ >>= 1;
            --bits_;
            clocks_ = DIVISOR;
        }
        --clocks_;
        return level_;
    }

private:
    uint32_t frame_ = 0;
    int bits_ = 0;
    int clocks_ = 0;
    bool level_ = true;
    bool broken_ = false;
};

// A receiver of 8N1: samples in the middle of each bit, counted from the start bit's edge.
class Receiver {
public:
    std::vector<uint8_t> bytes;
    uint64_t received = 0;
    uint64_t broken = 0;
    // The fewest cycles from one start bit to the next; 0: there were no two.
    uint64_t shortest = 0;

    bool idle() const { return bits_ == 0; }

    // Nothing came for two bytes' time: what is there is all there will be for now.
    bool paused() const { return since_ >= 20 * DIVISOR; }

    void clock(bool level) {
        ++age_;
        if (bits_ == 0) {
            if (level) {
                if (since_ < 20 * DIVISOR) ++since_;
                return;
            }
            since_ = 0;
            if (received + broken && (!shortest || age_ < shortest)) shortest = age_;
            age_ = 0;
            bits_ = 9;
            wait_ = DIVISOR + DIVISOR / 2;
        } else if (--wait_ == 0) {
            wait_ = DIVISOR;
            if (--bits_ > 0) {
                byte_ = static_cast<uint8_t>((byte_ >> 1) | (level ? 0x80 : 0));
            } else if (level) {
                bytes.push_back(byte_);
                ++received;
            } else {
                ++broken;
            }
        }
    }

private:
    int bits_ = 0;
    int wait_ = 0;
    int since_ = 0;
    uint64_t age_ = 0;
    uint8_t byte_ = 0;
};

#ifdef SAMPLE_MEMORY
// Verilator's names of the ports.
#define CHIP_ALIVE chip___05Falive
#define CHIP_I_PAYLOAD chip___05Fi___05Fpayload
#define CHIP_I_READY chip___05Fi___05Fready
#define CHIP_I_VALID chip___05Fi___05Fvalid
#define CHIP_PHASE chip___05Fphase
#define CHIP_REQUEST_PAYLOAD chip___05Frequest___05Fpayload
#define CHIP_REQUEST_READY chip___05Frequest___05Fready
#define CHIP_REQUEST_VALID chip___05Frequest___05Fvalid
#define CHIP_WORD_PAYLOAD chip___05Fword___05Fpayload
#define CHIP_WORD_VALID chip___05Fword___05Fvalid

// A memory of 16-bit words at the design's pins `chip`, of 8 MB, and as slow as the controller of
// an SDRAM at 75 MHz: cycles to open a row, one more to cross into the next, refreshes. It is read
// right in some phases.
class Memory {
public:
    Memory() : words_(kWords) {}

    // Before the rising edge: outputs are those of this cycle, inputs are set for it.
    void clock(Vtop& top) {
        ++now_;
        top.CHIP_ALIVE = 1;
        top.CHIP_REQUEST_READY = 0;
        top.CHIP_I_READY = 0;
        top.CHIP_WORD_VALID = 0;
        if (wait_ > 0) {
            --wait_;
        } else if (left_ == 0) {
            top.CHIP_REQUEST_READY = 1;
            if (!top.CHIP_REQUEST_VALID) return;
            const uint64_t asked = top.CHIP_REQUEST_PAYLOAD;
            place_ = asked & 0xffffff;
            left_ = asked >> 24 & 0x7ff;
            write_ = asked >> 35 & 1;
            wait_ = kOpen;
            if (now_ - refreshed_ > kRefresh) {
                refreshed_ = now_;
                wait_ += kRefreshes;
            }
        } else {
            uint16_t& word = words_[place_ % kWords];
            if (write_) {
                if (!top.CHIP_I_VALID) return;
                top.CHIP_I_READY = 1;
                word = top.CHIP_I_PAYLOAD;
            } else {
                const int phase = top.CHIP_PHASE;
                top.CHIP_WORD_VALID = 1;
                top.CHIP_WORD_PAYLOAD = phase >= 2 && phase <= 5 ? word : ~word;
            }
            --left_;
            if (++place_ % kRow == 0) wait_ = 1;
        }
    }

private:
    static constexpr int kWords = 1 << 22, kRow = 512, kOpen = 6, kRefresh = 585, kRefreshes = 12;
    std::vector<uint16_t> words_;
    uint64_t now_ = 0, refreshed_ = 0;
    uint32_t place_ = 0;
    int left_ = 0, wait_ = 0;
    bool write_ = false;
};
#endif

// The design, one clock at a time.
class Board {
public:
    Sender sender;
    Receiver receiver;
    uint64_t cycles = 0;

    Board() : top_{&context_, "top"} {
        top_.clk = 0;
        top_.rx = 1;
        top_.eval();  // else the first edge of clk is none
    }

    ~Board() {
        top_.final();
#if VM_TRACE
        if (trace_) trace_->close();
#endif
    }

    void open_trace(const char* path) {
#if VM_TRACE
        context_.traceEverOn(true);
        trace_ = std::make_unique<Trace>();
        top_.trace(trace_.get(), 99);
        trace_->open(path);
        if (!trace_->isOpen()) {
            std::fprintf(stderr, "board: cannot write %s\n", path);
            std::exit(1);
        }
#else
        (void)path;
        std::fprintf(stderr, "board: built without waveforms\n");
        std::exit(2);
#endif
    }

    void flush_trace() {
#if VM_TRACE
        if (trace_) trace_->flush();
#endif
    }

    // Whether nothing moves any more.
    bool asleep() const { return settled_ >= kSettle && sender.idle() && receiver.idle(); }

    void wake() { settled_ = 0; }

    void clock() {
        top_.rx = sender.level();
#ifdef SAMPLE_MEMORY
        memory_.clock(top_);
#endif
        top_.clk = 1;
        eval();
        top_.clk = 0;
        eval();
        receiver.clock(top_.tx);
        settled_ = top_.quiet ? settled_ + 1 : 0;
        ++cycles;
    }

private:
    void eval() {
        top_.eval();
#if VM_TRACE
        if (trace_) {
            trace_->dump(context_.time());
            context_.timeInc(5);
        }
#endif
    }

    VerilatedContext context_;
    Vtop top_;
#ifdef SAMPLE_MEMORY
    Memory memory_;
#endif
    int settled_ = 0;
#if VM_TRACE
    std::unique_ptr<Trace> trace_;
#endif
};

// The pseudo-terminal. Its slave end stays open here: clients come and go, and the line remains.
class Line {
public:
    int fd = -1;

    Line() {
        fd = posix_openpt(O_RDWR | O_NOCTTY);
        if (fd < 0 || grantpt(fd) || unlockpt(fd)) die("no pseudo-terminal");
        path_ = ptsname(fd);
        slave_ = open(path_.c_str(), O_RDWR | O_NOCTTY);
        if (slave_ < 0) die(path_.c_str());
        termios modes;
        if (tcgetattr(slave_, &modes)) die("tcgetattr");
        cfmakeraw(&modes);
        if (tcsetattr(slave_, TCSANOW, &modes)) die("tcsetattr");
        if (fcntl(fd, F_SETFL, O_NONBLOCK)) die("fcntl");
    }

    ~Line() {
        close(slave_);
        close(fd);
    }

    const char* path() const { return path_.c_str(); }

    void read_into(std::deque<uint8_t>& bytes) {
        uint8_t buffer[kAhead];
        const ssize_t n = read(fd, buffer, sizeof buffer);
        if (n > 0) bytes.insert(bytes.end(), buffer, buffer + n);
        if (n < 0 && errno != EAGAIN && errno != EINTR) die("read");
    }

    void write_from(std::vector<uint8_t>& bytes) {
        const ssize_t n = write(fd, bytes.data(), bytes.size());
        if (n > 0) bytes.erase(bytes.begin(), bytes.begin() + n);
        if (n < 0 && errno != EAGAIN && errno != EINTR) die("write");
    }

private:
    int slave_ = -1;
    std::string path_;
};

volatile std::sig_atomic_t g_stop = 0;
volatile std::sig_atomic_t g_break = 0;
int g_wakeup[2];

void on_signal(int number) {
    const int saved = errno;
    (number == SIGUSR1 ? g_break : g_stop) = 1;
    // A byte in a pipe ends poll() even if the signal comes just before it.
    if (write(g_wakeup[1], "", 1) < 0) {}
    errno = saved;
}

double seconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
    bool watch_stdin = false, stats = false;
    const char* trace = nullptr;
    for (int i = 1; i < argc; ++i) {
        const std::string arg = argv[i];
        if (arg == "--watch-stdin") {
            watch_stdin = true;
        } else if (arg == "--stats") {
            stats = true;
        } else if ((arg == "--vcd" || arg == "--fst") && i + 1 < argc) {
            trace = argv[++i];
        } else {
            std::fprintf(stderr, "board: unknown option %s\n", argv[i]);
            return 2;
        }
    }

    if (pipe(g_wakeup)) die("pipe");
    for (const int end : g_wakeup) fcntl(end, F_SETFL, O_NONBLOCK);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaction(number, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);

    Line line;
    Board board;
    if (trace) board.open_trace(trace);
    std::printf("%s\n", line.path());
    std::fflush(stdout);

    Sender& sender = board.sender;
    std::vector<uint8_t>& outbound = board.receiver.bytes;
    double busy = 0;
    pollfd files[] = {{line.fd, 0, 0}, {g_wakeup[0], POLLIN, 0}, {watch_stdin ? 0 : -1, POLLIN, 0}};

    while (!g_stop) {
        if (!outbound.empty() && (outbound.size() >= kFlush || board.receiver.paused())) {
            line.write_from(outbound);
        }
        const bool stuck = outbound.size() >= kBacklog;
        const bool sleep = stuck || board.asleep();
        files[0].events = static_cast<short>((sender.bytes.size() < kAhead ? POLLIN : 0) |
                                             (sleep && !outbound.empty() ? POLLOUT : 0));
        if (sleep) board.flush_trace();
        if (poll(files, 3, sleep ? -1 : 0) < 0 && errno != EINTR) die("poll");
        if (files[2].revents) {
            char ignored[256];
            if (read(0, ignored, sizeof ignored) <= 0) break;
        }
        if (files[1].revents) {
            char ignored[16];
            if (read(g_wakeup[0], ignored, sizeof ignored) < 0) {}
        }
        if (g_break) {
            g_break = 0;
            sender.break_line();
            board.wake();
        }
        if (files[0].revents & POLLIN) {
            line.read_into(sender.bytes);
            board.wake();
        }
        if (stuck || board.asleep()) continue;

        const double start = seconds();
        for (int i = 0; i < kSlice && !board.asleep(); ++i) board.clock();
        busy += seconds() - start;
    }

    if (stats) {
        std::printf(
            "{\"cycles\": %llu, \"busy_seconds\": %.6f, \"bytes_in\": %llu, \"bytes_out\": %llu, "
            "\"broken\": %llu, \"byte_cycles\": %llu}\n",
            static_cast<unsigned long long>(board.cycles), busy,
            static_cast<unsigned long long>(sender.sent),
            static_cast<unsigned long long>(board.receiver.received),
            static_cast<unsigned long long>(board.receiver.broken),
            static_cast<unsigned long long>(board.receiver.shortest));
    }
    return 0;
}
