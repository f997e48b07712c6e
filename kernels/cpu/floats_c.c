/* floats_c.c - floats.h in plain C, for any machine. */
#include "kernels/cpu/floats.h"

#include <math.h>

static void from_bf16(float *y, const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = sa2_bf16_to_f32(x[i]);
}

static void to_bf16(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = sa2_f32_to_bf16(x[i]);
}

/* Sums in 16 strands that are added pairwise: less rounding, and loops that compilers vectorise. */
enum { STRANDS = 16 };

static float add_strands(float strand[STRANDS])
{
    for (int half = STRANDS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            strand[j] += strand[j + half];
    return strand[0];
}

static float sum(const float *x, int64_t n)
{
    float strand[STRANDS] = {0};
    int64_t i = 0;
    for (; i + STRANDS <= n; i += STRANDS)
        for (int j = 0; j < STRANDS; j++)
            strand[j] += x[i + j];
    for (int j = 0; i + j < n; j++)
        strand[j] += x[i + j];
    return add_strands(strand);
}

static float sum_squares(const float *x, float centre, int64_t n)
{
    float strand[STRANDS] = {0};
    for (int64_t i = 0; i < n; i += STRANDS) {
        int64_t rest = n - i < STRANDS ? n - i : STRANDS;
        for (int64_t j = 0; j < rest; j++) {
            float d = x[i + j] - centre;
            strand[j] += d * d;
        }
    }
    return add_strands(strand);
}

static float largest(const float *x, int64_t n)
{
    float most = x[0];
    for (int64_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

static void add(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void add_scaled(float *y, const float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static void add_product(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a[i] * b[i];
}

static void scale(float *y, const float *x, float a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a * x[i];
}

static void scale_each(float *y, const float *x, float a, const float *w, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a * x[i] * w[i];
}

static void normalise(float *y, const float *x, float centre, float a, const float *weight,
                      const float *bias, const float *gain, const float *shift, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = (x[i] - centre) * a;
        if (weight != NULL)
            v = v * weight[i] + bias[i];
        if (gain != NULL)
            v = v * (1.0f + gain[i]) + shift[i];
        y[i] = v;
    }
}

static float activation(float x, sa2_activation kind, float slope, float alpha)
{
    switch (kind) {
    case SA2_ACT_NONE:
        return x;
    case SA2_ACT_RELU:
        return x < 0.0f ? 0.0f : x; /* NaN stays */
    case SA2_ACT_GELU:
        return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case SA2_ACT_GELU_TANH:
        return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case SA2_ACT_SILU:
        return x / (1.0f + expf(-x));
    case SA2_ACT_ELU:
        return x > 0.0f ? x : expm1f(x);
    case SA2_ACT_MISH: /* tanh(ln(1 + e)) = (e^2 + 2 e) / (e^2 + 2 e + 2) */
        if (x > 20.0f)
            return x;
        float e = expf(x), m = e * (e + 2.0f);
        return x * m / (m + 2.0f);
    case SA2_ACT_LEAKY:
        return x > 0.0f ? x : slope * x;
    case SA2_ACT_SNAKE: {
        float sine = sinf(alpha * x);
        return x + sine * sine / (alpha + 1e-9f);
    }
    case SA2_ACT_SIGMOID:
        return 1.0f / (1.0f + expf(-x));
    }
    return x;
}

static void activate(float *y, const float *x, sa2_activation kind, float slope, const float *alpha,
                     int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = activation(x[i], kind, slope, kind == SA2_ACT_SNAKE ? alpha[i] : 0.0f);
}

static void angles(float *cosine, float *sine, float position, const float *frequency, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float angle = position * frequency[i];
        cosine[i] = cosf(angle);
        sine[i] = sinf(angle);
    }
}

static void rotate(float *a, float *b, const float *cosine, const float *sine, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float x = a[i], y = b[i];
        a[i] = x * cosine[i] - y * sine[i];
        b[i] = y * cosine[i] + x * sine[i];
    }
}

static void power(float *y, const float *re, const float *im, bool magnitude, float eps, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float square = re[i] * re[i] + im[i] * im[i];
        y[i] = magnitude ? sqrtf(square + eps) : square;
    }
}

static void log_floor(float *y, sa2_log_kind kind, float floor, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float x = y[i] < floor ? floor : y[i];
        y[i] = kind == SA2_LOG_10 ? log10f(x) : logf(x);
    }
}

static void clamp(float *y, float low, float shift, float factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = ((y[i] < low ? low : y[i]) + shift) * factor;
}

const sa2_floats sa2_floats_c = {
    .from_bf16 = from_bf16,
    .to_bf16 = to_bf16,
    .sum = sum,
    .sum_squares = sum_squares,
    .max = largest,
    .add = add,
    .add_scaled = add_scaled,
    .add_product = add_product,
    .scale = scale,
    .scale_each = scale_each,
    .normalise = normalise,
    .activate = activate,
    .angles = angles,
    .rotate = rotate,
    .power = power,
    .log_floor = log_floor,
    .clamp = clamp,
};
