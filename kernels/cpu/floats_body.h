/* floats_body.h - the functions of floats.h on the names of vector.h, compiled once for each
 * instruction set by floats_c.c, floats_avx2.c and floats_avx512.c.
 */
#ifndef SA2_KERNELS_CPU_FLOATS_BODY_H
#define SA2_KERNELS_CPU_FLOATS_BODY_H

#include "kernels/cpu/floats.h"
#include "kernels/cpu/vector_math.h"

/* y = f(a, b, k) element by element; the compiler sees f as a constant and puts it in the loop. */
typedef vf (*floats_lane)(vf a, vf b, const float *k);

static inline __attribute__((always_inline)) void
floats_map(float *y, const float *a, const float *b, int64_t n, floats_lane f, const float *k)
{
    int64_t i = 0;
    for (; i + VF_WIDTH <= n; i += VF_WIDTH)
        v_store(y + i, f(v_load(a + i), v_load(b + i), k));
    int rest = (int)(n - i);
    if (rest > 0)
        v_store_part(y + i, f(v_load_part(a + i, rest), v_load_part(b + i, rest), k), rest);
}

/* ---- bf16 ---- */

static void floats_from_bf16(float *y, const uint16_t *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_WIDTH <= n; i += VF_WIDTH)
        v_store(y + i, v_load_bf16(x + i));
    if (i < n)
        v_store_part(y + i, v_load_bf16_part(x + i, (int)(n - i)), (int)(n - i));
}

static void floats_to_bf16(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VF_WIDTH <= n; i += VF_WIDTH)
        v_store_bf16(y + i, v_load(x + i));
    if (i < n)
        v_store_bf16_part(y + i, v_load_part(x + i, (int)(n - i)), (int)(n - i));
}

/* ---- sums: strands that are added at the end, so that the adder's latency does not wait ---- */

enum { FLOATS_STRANDS = 4, FLOATS_TURN = FLOATS_STRANDS * VF_WIDTH };

static float floats_sum(const float *x, int64_t n)
{
    vf strand[FLOATS_STRANDS] = {v_zero(), v_zero(), v_zero(), v_zero()};
    int64_t i = 0;
    for (; i + FLOATS_TURN <= n; i += FLOATS_TURN)
        for (int j = 0; j < FLOATS_STRANDS; j++)
            strand[j] = strand[j] + v_load(x + i + j * VF_WIDTH);
    for (; i + VF_WIDTH <= n; i += VF_WIDTH)
        strand[0] = strand[0] + v_load(x + i);
    if (i < n)
        strand[1] = strand[1] + v_load_part(x + i, (int)(n - i));
    return v_sum((strand[0] + strand[1]) + (strand[2] + strand[3]));
}

static float floats_sum_squares(const float *x, float centre, int64_t n)
{
    vf strand[FLOATS_STRANDS] = {v_zero(), v_zero(), v_zero(), v_zero()};
    vf middle = v_set(centre);
    int64_t i = 0;
    for (; i + FLOATS_TURN <= n; i += FLOATS_TURN)
        for (int j = 0; j < FLOATS_STRANDS; j++) {
            vf d = v_load(x + i + j * VF_WIDTH) - middle;
            strand[j] = v_fma(d, d, strand[j]);
        }
    for (; i + VF_WIDTH <= n; i += VF_WIDTH) {
        vf d = v_load(x + i) - middle;
        strand[0] = v_fma(d, d, strand[0]);
    }
    if (i < n) { /* lanes past the end hold the centre */
        float room[VF_WIDTH];
        v_store(room, middle);
        memcpy(room, x + i, (size_t)(n - i) * sizeof *room);
        vf d = v_load(room) - middle;
        strand[1] = v_fma(d, d, strand[1]);
    }
    return v_sum((strand[0] + strand[1]) + (strand[2] + strand[3]));
}

static float floats_max(const float *x, int64_t n)
{
    vf most = v_set(x[0]);
    int64_t i = 0;
    for (; i + VF_WIDTH <= n; i += VF_WIDTH)
        most = v_max(most, v_load(x + i));
    float largest = v_largest(most);
    for (; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

/* ---- element by element ---- */

static inline vf floats_lane_add(vf a, vf b, const float *k)
{
    (void)k;
    return a + b;
}

static void floats_add(float *y, const float *a, const float *b, int64_t n)
{
    floats_map(y, a, b, n, floats_lane_add, NULL);
}

static inline vf floats_lane_add_scaled(vf y, vf x, const float *k)
{
    return v_fma(x, v_set(k[0]), y);
}

static void floats_add_scaled(float *y, const float *x, float a, int64_t n)
{
    floats_map(y, y, x, n, floats_lane_add_scaled, &a);
}

static inline vf floats_lane_scale(vf x, vf unused, const float *k)
{
    (void)unused;
    return x * v_set(k[0]);
}

static void floats_scale(float *y, const float *x, float a, int64_t n)
{
    floats_map(y, x, x, n, floats_lane_scale, &a);
}

static inline vf floats_lane_scale_each(vf x, vf w, const float *k)
{
    return x * v_set(k[0]) * w;
}

static void floats_scale_each(float *y, const float *x, float a, const float *w, int64_t n)
{
    floats_map(y, x, w, n, floats_lane_scale_each, &a);
}

static inline vf floats_lane_mix(vf x, vf z, const float *k)
{
    return v_fma(v_set(k[0]), x, v_set(k[1]) * z);
}

static void floats_mix(float *y, float a, const float *x, float b, const float *z, int64_t n)
{
    const float k[] = {a, b};
    floats_map(y, x, z, n, floats_lane_mix, k);
}

static void floats_add_product(float *y, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i += VF_WIDTH) {
        int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
        vf sum = v_fma(v_load_as(SA2_F32, a, i, rest), v_load_as(SA2_F32, b, i, rest),
                       v_load_as(SA2_F32, y, i, rest));
        v_store_as(SA2_F32, y, i, sum, rest);
    }
}

static void floats_normalise(float *y, const float *x, float centre, float a, const float *weight,
                             const float *bias, const float *scale, const float *shift, int64_t n)
{
    vf middle = v_set(centre), factor = v_set(a), one = v_set(1.0f);
    for (int64_t i = 0; i < n; i += VF_WIDTH) {
        int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
        vf v = (v_load_as(SA2_F32, x, i, rest) - middle) * factor;
        if (weight != NULL)
            v = v_fma(v, v_load_as(SA2_F32, weight, i, rest), v_load_as(SA2_F32, bias, i, rest));
        if (scale != NULL)
            v = v_fma(v, one + v_load_as(SA2_F32, scale, i, rest),
                      v_load_as(SA2_F32, shift, i, rest));
        v_store_as(SA2_F32, y, i, v, rest);
    }
}

/* ---- activations: one loop for each ---- */

static inline __attribute__((always_inline)) void floats_activate_as(sa2_activation kind, float *y,
                                                                     const float *x, float slope,
                                                                     const float *alpha, int64_t n)
{
    for (int64_t i = 0; i < n; i += VF_WIDTH) {
        int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
        vf a = kind == SA2_ACT_SNAKE ? v_load_as(SA2_F32, alpha, i, rest) : v_zero();
        vf v = v_activate(kind, v_load_as(SA2_F32, x, i, rest), slope, a);
        v_store_as(SA2_F32, y, i, v, rest);
    }
}

static void floats_activate(float *y, const float *x, sa2_activation kind, float slope,
                            const float *alpha, int64_t n)
{
    switch (kind) {
    case SA2_ACT_NONE:
        memmove(y, x, (size_t)n * sizeof *y);
        break;
    case SA2_ACT_RELU:
        floats_activate_as(SA2_ACT_RELU, y, x, slope, alpha, n);
        break;
    case SA2_ACT_GELU:
        floats_activate_as(SA2_ACT_GELU, y, x, slope, alpha, n);
        break;
    case SA2_ACT_GELU_TANH:
        floats_activate_as(SA2_ACT_GELU_TANH, y, x, slope, alpha, n);
        break;
    case SA2_ACT_SILU:
        floats_activate_as(SA2_ACT_SILU, y, x, slope, alpha, n);
        break;
    case SA2_ACT_ELU:
        floats_activate_as(SA2_ACT_ELU, y, x, slope, alpha, n);
        break;
    case SA2_ACT_MISH:
        floats_activate_as(SA2_ACT_MISH, y, x, slope, alpha, n);
        break;
    case SA2_ACT_LEAKY:
        floats_activate_as(SA2_ACT_LEAKY, y, x, slope, alpha, n);
        break;
    case SA2_ACT_SNAKE:
        floats_activate_as(SA2_ACT_SNAKE, y, x, slope, alpha, n);
        break;
    case SA2_ACT_ABS:
        floats_activate_as(SA2_ACT_ABS, y, x, slope, alpha, n);
        break;
    case SA2_ACT_SIGMOID:
        floats_activate_as(SA2_ACT_SIGMOID, y, x, slope, alpha, n);
        break;
    }
}

/* Columns of vectors, so that the division is done once in each; of few rows, so that they are read as they
 * lie in memory. */
static void floats_snake_rows(float *y, int64_t y_step, const float *x, int64_t x_step,
                              const float *alpha, int64_t rows, int64_t n)
{
    enum { TURN = 16 };
    for (int64_t first = 0; first < rows; first += TURN) {
        int64_t end = rows - first < TURN ? rows : first + TURN;
        for (int64_t i = 0; i < n; i += VF_WIDTH) {
            int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
            vf a = v_load_as(SA2_F32, alpha, i, rest), inverse = v_snake_inverse(a);
            for (int64_t r = first; r < end; r++) {
                vf v = v_snake(v_load_as(SA2_F32, x, r * x_step + i, rest), a, inverse);
                v_store_as(SA2_F32, y, r * y_step + i, v, rest);
            }
        }
    }
}

/* ---- rotation ---- */

static inline vf floats_lane_cos(vf frequency, vf unused, const float *k)
{
    (void)unused;
    return v_cos(frequency * v_set(k[0]));
}

static inline vf floats_lane_sin(vf frequency, vf unused, const float *k)
{
    (void)unused;
    return v_sin(frequency * v_set(k[0]));
}

static void floats_angles(float *cosine, float *sine, float position, const float *frequency,
                          int64_t n)
{
    floats_map(cosine, frequency, frequency, n, floats_lane_cos, &position);
    floats_map(sine, frequency, frequency, n, floats_lane_sin, &position);
}

static void floats_rotate(float *a, float *b, const float *cosine, const float *sine, int64_t n)
{
    for (int64_t i = 0; i < n; i += VF_WIDTH) {
        int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
        vf x = v_load_as(SA2_F32, a, i, rest), y = v_load_as(SA2_F32, b, i, rest);
        vf c = v_load_as(SA2_F32, cosine, i, rest), s = v_load_as(SA2_F32, sine, i, rest);
        v_store_as(SA2_F32, a, i, x * c - y * s, rest);
        v_store_as(SA2_F32, b, i, y * c + x * s, rest);
    }
}

/* ---- spectra ---- */

static inline vf floats_lane_power(vf re, vf im, const float *k)
{
    (void)k;
    return v_fma(re, re, im * im);
}

static inline vf floats_lane_magnitude(vf re, vf im, const float *k)
{
    return v_sqrt(v_fma(re, re, im * im) + v_set(k[0]));
}

static void floats_power(float *y, const float *re, const float *im, bool magnitude, float eps,
                         int64_t n)
{
    if (magnitude)
        floats_map(y, re, im, n, floats_lane_magnitude, &eps);
    else
        floats_map(y, re, im, n, floats_lane_power, NULL);
}

/* k: the floor, and what turns a natural logarithm into the one asked for. */
static inline vf floats_lane_log(vf x, vf unused, const float *k)
{
    (void)unused;
    return v_log(v_max(v_set(k[0]), x)) * v_set(k[1]);
}

static void floats_log_floor(float *y, sa2_log_kind kind, float floor, int64_t n)
{
    float k[] = {floor, kind == SA2_LOG_10 ? 0.434294482f : 1.0f};
    floats_map(y, y, y, n, floats_lane_log, k);
}

static inline vf floats_lane_clamp(vf x, vf unused, const float *k)
{
    (void)unused;
    return (v_max(v_set(k[0]), x) + v_set(k[1])) * v_set(k[2]);
}

static void floats_clamp(float *y, float low, float shift, float scale, int64_t n)
{
    float k[] = {low, shift, scale};
    floats_map(y, y, y, n, floats_lane_clamp, k);
}

/* ---- waves ---- */

static inline vf floats_lane_sine(vf x, vf unused, const float *k)
{
    (void)unused;
    (void)k;
    return v_sin(x);
}

static void floats_sine(float *y, const float *x, int64_t n)
{
    floats_map(y, x, x, n, floats_lane_sine, NULL);
}

static inline vf floats_lane_tanh(vf x, vf unused, const float *k)
{
    (void)unused;
    (void)k;
    return v_tanh(x);
}

static void floats_tanh(float *y, const float *x, int64_t n)
{
    floats_map(y, x, x, n, floats_lane_tanh, NULL);
}

static void floats_polar(float *re, float *im, const float *log_magnitude, const float *x,
                         float most, int64_t n)
{
    for (int64_t i = 0; i < n; i += VF_WIDTH) {
        int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
        vf m = v_min(v_set(most), v_exp(v_load_as(SA2_F32, log_magnitude, i, rest)));
        vf phase = v_sin(v_load_as(SA2_F32, x, i, rest));
        v_store_as(SA2_F32, re, i, m * v_cos(phase), rest);
        v_store_as(SA2_F32, im, i, m * v_sin(phase), rest);
    }
}

static void floats_box_muller(float *a, float *b, const float *u, const float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i += VF_WIDTH) {
        int rest = n - i < VF_WIDTH ? (int)(n - i) : VF_WIDTH;
        vf radius = v_sqrt(v_set(-2.0f) * v_log(v_load_as(SA2_F32, u, i, rest)));
        vf angle = v_set(6.28318531f) * v_load_as(SA2_F32, v, i, rest);
        v_store_as(SA2_F32, a, i, radius * v_cos(angle), rest);
        v_store_as(SA2_F32, b, i, radius * v_sin(angle), rest);
    }
}

static const sa2_floats floats_table = {
    .from_bf16 = floats_from_bf16,
    .to_bf16 = floats_to_bf16,
    .sum = floats_sum,
    .sum_squares = floats_sum_squares,
    .max = floats_max,
    .add = floats_add,
    .add_scaled = floats_add_scaled,
    .mix = floats_mix,
    .add_product = floats_add_product,
    .scale = floats_scale,
    .scale_each = floats_scale_each,
    .normalise = floats_normalise,
    .activate = floats_activate,
    .snake_rows = floats_snake_rows,
    .angles = floats_angles,
    .rotate = floats_rotate,
    .power = floats_power,
    .log_floor = floats_log_floor,
    .clamp = floats_clamp,
    .sine = floats_sine,
    .tanh = floats_tanh,
    .polar = floats_polar,
    .box_muller = floats_box_muller,
};

#endif
