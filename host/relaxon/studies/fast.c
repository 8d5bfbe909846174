/* The recipe `fast` in C, for one core: what `relaxon bench speed` compares the machine with.
 *
 * Centered EP on one hidden layer, a sample at a time, in float, states rounded to the grid: the free
 * phase ends as soon as every output is within the margin of its target, and then nothing is learned;
 * else there are FREE_CAP free sweeps, NUDGED_CAP nudged ones of both phases, and an update. Zero
 * inputs are left out: lists of the others are made once, before the clock starts.
 *
 * Compiled with -DNI=784 -DNH=128 -DNO=10 and the recipe's numbers as below.
 * Usage: fast FILE EPOCHS HALVINGS SEED. FILE: int32 samples, tests; uint8 inputs (levels of
 * 2**-BITS) and labels of the samples, then of the tests. Prints a line of JSON an epoch. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef NI
enum { NI = 784, NH = 128, NO = 10, BITS = 4, FREE_CAP = 4, NUDGED_CAP = 3 };
#define MARGIN 0.25f
#define BETA 0.5f
#define LOW 0.0f
#define HIGH 0.75f
#define RATE1 (1 / 64.0f)
#define RATE2 (1 / 512.0f)
#endif
#define UNROLL _Pragma("GCC unroll 8")

enum { LANES = 16, OP = LANES * ((NO + LANES - 1) / LANES) };
#ifdef __AVX512F__
enum { PART = 8 }; /* vectors of the hidden layer that are summed up in registers */
#else
enum { PART = 4 };
#endif
enum { HV = PART * ((NH + LANES * PART - 1) / (LANES * PART)), HP = HV * LANES };
typedef float V __attribute__((vector_size(4 * LANES)));

static V W1[NI + 1][HV];        /* a row an input; the last one is the bias */
static float W2[HP][OP], b2[OP]; /* a row a hidden unit */
static uint32_t *entries, *starts, *order;
static float level[1 << BITS];

static inline float onto_grid(float a) { /* clipped to [0, 1], rounded to 2**-8 */
  a = a < 0 ? 0 : a;
  a = a > 1 ? 1 : a;
  return a + 49152.0f - 49152.0f; /* 1.5 * 2**15: the last bit of such a float is 2**-8 */
}

static void drive(const uint32_t *e, const uint32_t *end, V *restrict d) {
  for (int p = 0; p < HV; p += PART) {
    V a[PART];
    UNROLL for (int i = 0; i < PART; i++) a[i] = W1[NI][p + i];
    for (const uint32_t *t = e; t < end; t++) {
      const V *w = &W1[*t >> 8][p];
      float x = level[*t & 255];
      UNROLL for (int i = 0; i < PART; i++) a[i] += x * w[i];
    }
    UNROLL for (int i = 0; i < PART; i++) d[p + i] = a[i];
  }
}

static void hidden(const float *restrict d, const float *restrict o, float *restrict h) {
  for (int i = 0; i < HP; i++) {
    float s = 0;
    for (int j = 0; j < OP; j++) s += W2[i][j] * o[j];
    h[i] = onto_grid(d[i] + s);
  }
}

static void first_hidden(const float *restrict d, float *restrict h) {
  for (int i = 0; i < HP; i++) h[i] = onto_grid(d[i]);
}

static void outputs(const float *restrict h, const float *restrict d, float *restrict o) {
  V a[4][OP / LANES];
  memset(a, 0, sizeof a);
  for (int i = 0; i < HP; i += 4)
    UNROLL for (int k = 0; k < 4; k++)
      for (int j = 0; j < OP / LANES; j++) a[k][j] += h[i + k] * ((const V *)W2[i + k])[j];
  for (int j = 0; j < OP / LANES; j++) a[0][j] = (a[0][j] + a[1][j]) + (a[2][j] + a[3][j]);
  const float *s = (const float *)a;
  for (int j = 0; j < OP; j++) o[j] = onto_grid(d[j] + s[j]);
}

static float farthest(const float *o, const float *y) {
  float worst = 0;
  for (int j = 0; j < NO; j++) {
    float e = fabsf(y[j] - o[j]);
    worst = e > worst ? e : worst;
  }
  return worst;
}

/* Free sweeps; with a target, until it is met. Returns whether it was. */
static int relax(const float *d, float *h, float *o, const float *y) {
  float old[OP];
  first_hidden(d, h);
  outputs(h, b2, o);
  for (int k = 1; k < FREE_CAP; k++) {
    if (y && farthest(o, y) <= MARGIN) return 1;
    memcpy(old, o, sizeof old);
    hidden(d, o, h);
    outputs(h, b2, o);
    if (!y && !memcmp(old, o, sizeof old)) return 0;
  }
  return y && farthest(o, y) <= MARGIN;
}

static void nudged(const float *d, const float *drive2, const float *free_h, float *h, float *o) {
  outputs(free_h, drive2, o);
  hidden(d, o, h);
  for (int k = 1; k < NUDGED_CAP; k++) {
    outputs(h, drive2, o);
    hidden(d, o, h);
  }
}

static void learn(const uint32_t *e, const uint32_t *end, float g1, float g2, const float *hp,
                  const float *hm, const float *op, const float *om) {
  V delta[HV];
  float *f = (float *)delta;
  for (int i = 0; i < HP; i++) f[i] = g1 * (hp[i] - hm[i]);
  for (const uint32_t *t = e; t < end; t++) {
    V *w = W1[*t >> 8];
    float x = level[*t & 255];
    UNROLL for (int i = 0; i < HV; i++) w[i] += x * delta[i];
  }
  for (int i = 0; i < HV; i++) W1[NI][i] += delta[i];
  for (int i = 0; i < NH; i++)
    for (int j = 0; j < OP; j++) W2[i][j] += g2 * (op[j] * hp[i] - om[j] * hm[i]);
  for (int j = 0; j < OP; j++) b2[j] += g2 * (op[j] - om[j]);
}

static double now(void) { /* CPU time: what other processes do with the core does not count */
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static uint64_t state;
static uint32_t draw(void) { /* xorshift64* (Vigna 2016) */
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return (uint32_t)(state * 0x2545F4914F6CDD1DULL >> 32);
}
static float uniform(float bound) { return (draw() / 2147483648.0f - 1) * bound; }

int main(int argc, char **argv) {
  FILE *file = argc == 5 ? fopen(argv[1], "rb") : NULL;
  int32_t count[2];
  if (!file || fread(count, 4, 2, file) != 2) return perror("fast: no such file"), 2;
  int epochs = atoi(argv[2]), halvings = atoi(argv[3]), n = count[0], all = n + count[1];
  uint8_t *x = malloc((size_t)all * NI), *labels = malloc(all);
  for (int s = 0, at = 0; s < 2; at += count[s++])
    if (fread(x + (size_t)at * NI, NI, count[s], file) != (size_t)count[s] ||
        fread(labels + at, 1, count[s], file) != (size_t)count[s])
      return perror("fast: file too short"), 2;
  size_t used = 0, at = 0;
  for (size_t i = 0; i < (size_t)all * NI; i++) used += x[i] != 0;
  entries = malloc(4 * used + 64), starts = malloc(4 * (size_t)(all + 1)), order = malloc(4 * (size_t)n);
  for (int s = 0; s < all; s++) {
    starts[s] = at;
    for (int i = 0; i < NI; i++)
      if (x[(size_t)s * NI + i]) entries[at++] = (uint32_t)i << 8 | x[(size_t)s * NI + i];
  }
  starts[all] = at;
  for (int v = 0; v < 1 << BITS; v++) level[v] = v / (float)(1 << BITS);
  state = 0x9E3779B97F4A7C15ULL + strtoull(argv[4], NULL, 10);
  for (int i = 0; i < NI; i++)
    for (int h = 0; h < NH; h++) ((float *)W1[i])[h] = uniform(0.5f * sqrtf(6.0f / (NI + NH)));
  for (int h = 0; h < NH; h++)
    for (int j = 0; j < NO; j++) W2[h][j] = uniform(0.5f * sqrtf(6.0f / (NH + NO)));
  for (int i = 0; i < n; i++) order[i] = i;
  V dv[HV];
  float *d = (float *)dv;
  _Alignas(64) float h[HP], hp[HP], hm[HP], o[OP], op[OP], om[OP], dp[OP], dm[OP];
  for (int epoch = 0; epoch < epochs; epoch++) {
    float scale = ldexpf(1, -(epoch * (halvings + 1) / epochs));
    float g1 = scale * RATE1 / (2 * BETA), g2 = scale * RATE2 / (2 * BETA);
    for (int i = n - 1; i > 0; i--) {
      uint32_t k = (uint64_t)draw() * (i + 1) >> 32, old = order[i];
      order[i] = order[k], order[k] = old;
    }
    int learned = 0, right = 0;
    double start = now();
    for (int s = 0; s < n; s++) {
      const uint32_t *e = entries + starts[order[s]], *end = entries + starts[order[s] + 1];
      if (s + 2 < n)
        for (int k = 0; k < 12; k++)
          __builtin_prefetch(entries + starts[order[s + 2]] + 16 * k);
      float y[OP] = {0};
      for (int j = 0; j < NO; j++) y[j] = LOW;
      y[labels[order[s]]] = HIGH;
      drive(e, end, dv);
      if (relax(d, h, o, y)) continue;
      learned++;
      for (int j = 0; j < OP; j++) {
        float c = j < NO ? BETA * (y[j] - o[j]) : 0;
        dp[j] = b2[j] + c, dm[j] = b2[j] - c;
      }
      nudged(d, dp, h, hp, op);
      nudged(d, dm, h, hm, om);
      learn(e, end, g1, g2, hp, hm, op, om);
    }
    double seconds = now() - start;
    for (int s = n; s < all; s++) {
      drive(entries + starts[s], entries + starts[s + 1], dv);
      relax(d, h, o, NULL);
      int best = 0;
      for (int j = 1; j < NO; j++) best = o[j] > o[best] ? j : best;
      right += best == labels[s];
    }
    printf("{\"epoch\": %d, \"seconds\": %.6f, \"learned\": %.6f, \"accuracy\": %.6f}\n", epoch + 1,
           seconds, learned / (double)n, right / (double)count[1]);
    fflush(stdout);
  }
}
