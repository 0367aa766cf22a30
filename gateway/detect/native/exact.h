/* The same numbers as the detectors in Python, to the last bit: basic operations only, each rounded as IEEE 754 says.
 * gateway/detect/exact.py has the same two functions in the same order of operations.
 */
#ifndef EXACT_H
#define EXACT_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

/* A function that is compiled once more for processors of the last ten years, and chosen when it is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

static const double LOG2_E = 0x1.71547652b82fep+0;
static const double LN_2 = 0x1.62e42fefa39efp-1;
static const double SQRT_2 = 0x1.6a09e667f3bcdp+0;

/* ln(2)^k / k! */
static const double EXP2_TERMS[14] = {
    0x1.0000000000000p+0,  0x1.62e42fefa39efp-1,  0x1.ebfbdff82c58fp-3,  0x1.c6b08d704a0c0p-5,  0x1.3b2ab6fba4e77p-7,
    0x1.5d87fe78a6731p-10, 0x1.430912f86c787p-13, 0x1.ffcbfc588b0c7p-17, 0x1.62c0223a5c824p-20, 0x1.b5253d395e7c4p-24,
    0x1.e4cf5158b8ecap-28, 0x1.e8cac7351bb25p-32, 0x1.c3bd650fc2986p-36, 0x1.816193166d0f9p-40,
};

/* 2 / (2 k + 1) */
static const double LOG_TERMS[10] = {
    0x1.0000000000000p+1, 0x1.5555555555555p-1, 0x1.999999999999ap-2, 0x1.2492492492492p-2, 0x1.c71c71c71c71cp-3,
    0x1.745d1745d1746p-3, 0x1.3b13b13b13b14p-3, 0x1.1111111111111p-3, 0x1.e1e1e1e1e1e1ep-4, 0x1.af286bca1af28p-4,
};

/* As numpy.fmin and numpy.fmax where `a` is a number; `b` may be NaN, and `a` wins. One instruction, and no branch. */
INLINE double least(double a, double b) { return b < a ? b : a; }
INLINE double most(double a, double b) { return b > a ? b : a; }
INLINE float leastf(float a, float b) { return b < a ? b : a; }
INLINE float mostf(float a, float b) { return b > a ? b : a; }

INLINE bool is_nan(double x) { return x != x; }
INLINE bool is_finite(double x) { return fabs(x) <= 0x1.fffffffffffffp+1023; }

/* floor(); with -fno-trapping-math no call of the C library, whatever the processor. */
INLINE double floor_of(double x) { return __builtin_floor(x); }

/* 2 to the power of x, for x <= 0. */
INLINE double exp2_of(double x) {
    x = most(-2000.0, x);
    double whole = floor_of(x + 0.5), g = x - whole;
    const double *c = EXP2_TERMS;
    double g2 = g * g, g4 = g2 * g2, g8 = g4 * g4;
    double low = ((c[0] + c[1] * g) + (c[2] + c[3] * g) * g2) + ((c[4] + c[5] * g) + (c[6] + c[7] * g) * g2) * g4;
    double high = ((c[8] + c[9] * g) + (c[10] + c[11] * g) * g2) + (c[12] + c[13] * g) * g4;
    double power = low + high * g8;
    if (whole < -1000.0) return ldexp(power, (int)whole);
    union { uint64_t bits; double number; } scale = {.bits = (uint64_t)(1023 + (int64_t)whole) << 52};
    return power * scale.number;
}

/* e to the power of x, for x <= 0. */
INLINE double exp_of(double x) { return exp2_of(x * LOG2_E); }

/* The natural logarithm of x, for normal x > 0. */
INLINE double log_of(double x) {
    int power;
    double part = frexp(x, &power);
    if (part * SQRT_2 < 1.0) {
        part = part * 2.0;
        power -= 1;
    }
    double s = (part - 1.0) / (part + 1.0), s2 = s * s, sum = LOG_TERMS[9];
    for (int k = 8; k >= 0; k--) sum = sum * s2 + LOG_TERMS[k];
    return s * sum + (double)power * LN_2;
}

#endif
