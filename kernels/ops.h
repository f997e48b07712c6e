/* ops.h - the operations that every backend has: tensors in, tensors out, no model words.
 *
 * Destination first, then inputs, weights, numbers. All data of one call lies in the memory of
 * the stream's backend. Activations are [rows, channels], time first; rows of several sequences
 * are packed one after the other and an op that needs the borders takes offsets [n + 1].
 * Sums are in f32 whatever the dtype. Vectors of weights (bias, norm scales, gates) are f32.
 *
 * The result of a row does not depend on which other rows are in the call: an op sums in one
 * order whatever the number of rows. (Batched results are bit-equal to each one alone.)
 *
 * Errors: an op checks its shapes (SA2_ERR_ARG, naming the op and every shape) and marks the stream;
 * the ops after a failed one do nothing, and sa2_stream_finish() tells. Threads: one per stream.
 */
#ifndef SA2_KERNELS_OPS_H
#define SA2_KERNELS_OPS_H

#include "kernels/base/arena.h"
#include "kernels/base/status.h"
#include "kernels/base/tensor.h"

typedef struct sa2_stream sa2_stream;

typedef enum sa2_activation {
    SA2_ACT_NONE = 0,
    SA2_ACT_RELU,
    SA2_ACT_GELU,      /* x/2 (1 + erf(x / sqrt 2)) */
    SA2_ACT_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    SA2_ACT_SILU,      /* x / (1 + e^-x) */
    SA2_ACT_ELU,       /* x > 0 ? x : e^x - 1 */
    SA2_ACT_MISH,      /* x tanh(ln(1 + e^x)) */
    SA2_ACT_LEAKY,     /* x > 0 ? x : slope x */
    SA2_ACT_SNAKE,     /* x + sin^2(alpha x) / (alpha + 1e-9), one alpha a channel */
    SA2_ACT_ABS,       /* |x| */
    SA2_ACT_SIGMOID,
} sa2_activation;

/* ---- weight matrices: kernels/cpu/matrix.c ---- */

/* A weight [rows, cols] = [out, in] in the order in which the backend's product reads it. Opaque
 * but for its sizes; one layout serves one row of activations and many alike. */
typedef struct sa2_matrix {
    void *data;      /* memory of the backend, owned by the model's arena */
    sa2_dtype dtype; /* F32, BF16, I8, I4 or E4M3 */
    int64_t rows, cols;
} sa2_matrix;

/* Bytes of data for such a matrix. */
size_t sa2_matrix_bytes(const sa2_stream *s, sa2_dtype dtype, int64_t rows, int64_t cols);

/* Rows [first, first + src rows) from a row-major src [n, cols] (f32 or bf16, host memory), rounded to the matrix's
 * dtype: of I8 each row to 255 steps of its largest value / 127; of I4 each row and group of 64 columns to 16 steps
 * that are a multiple, up to 16, of the row's largest value / 112; of E4M3 each row and group of 32 columns to the
 * numbers of base/e4m3.h times the least power of two, 2^-117 to 2^7, that cuts nothing off, and what is beyond to the
 * largest. Several calls stack several weights into one product. */
void sa2_matrix_write(sa2_stream *s, sa2_matrix *w, int64_t first, sa2_tensor src);

/* The whole of a gate-and-up product, for sa2_linear() with `swiglu`: gate, up [n, cols], w [2 n, cols]. */
void sa2_matrix_write_swiglu(sa2_stream *s, sa2_matrix *w, sa2_tensor gate, sa2_tensor up);

/* ---- products: linear.c ---- */

/* x in f32 goes with w in any dtype and x in bf16 with all but F32. x is multiplied as it is, but for I8 and I4
 * on the processor: there each of its rows is rounded to 65025 steps between its largest values, and sums are exact. */
typedef struct sa2_linear_args {
    sa2_tensor y;        /* [rows, n] f32 or bf16; [rows, n / 2] with swiglu */
    sa2_tensor x;        /* [rows, k] f32 or bf16; rows may overlap (stride < k) */
    const sa2_matrix *w; /* [n, k] */
    sa2_tensor bias;     /* [n] or absent */
    sa2_activation activation;
    float slope;          /* of SA2_ACT_LEAKY */
    bool swiglu;          /* y = silu(gate) * up, w written by sa2_matrix_write_swiglu() */
    bool accumulate;      /* y += gate * activation(x w^T + bias), y f32 */
    sa2_tensor gate;      /* factor of the result: [n], or [g, n] with gate_rows; absent: 1 */
    sa2_tensor gate_rows; /* i32 [rows], the row of `gate` for each row of y */
} sa2_linear_args;

/* y = activation(x w^T + bias), with the epilogues above. */
void sa2_linear(sa2_stream *s, sa2_linear_args a);

/* ---- convolutions: conv1d.c, conv_transpose1d.c, conv2d.c, depthwise.c ---- */

/* Several sequences packed in the rows of one tensor: sequence i has rows [offsets[i], offsets[i + 1]). */
typedef struct sa2_rows {
    int n;                  /* sequences */
    const int32_t *offsets; /* [n + 1], host memory, rising from 0 */
} sa2_rows;

typedef struct sa2_conv1d_args {
    sa2_tensor y; /* [sum of out lengths, out] f32 or bf16 */
    sa2_tensor x; /* [rows, in], the dtype rules of sa2_linear */
    sa2_rows
        sequences; /* of x; y has floor((len + pads - dilation (kernel - 1) - 1) / stride) + 1 each */
    const sa2_matrix *w; /* [out, kernel * in], tap by tap: column k * in + i */
    sa2_tensor bias;     /* [out] or absent */
    int kernel, stride, dilation, pad_left, pad_right;
    sa2_tensor history;        /* [n, pad_left, in] f32 rows before each sequence; absent: zeros */
    sa2_activation input;      /* applied to x as it is read, not to padding or history */
    float input_slope;         /* of SA2_ACT_LEAKY */
    sa2_tensor input_alpha;    /* [in], of SA2_ACT_SNAKE */
    sa2_activation activation; /* of the result */
    float slope;
    bool accumulate;            /* y += gate * ..., y f32 */
    sa2_tensor gate, gate_rows; /* as in sa2_linear */
} sa2_conv1d_args;

/* Cross-correlation along rows: y[t] = sum_k w[:, k] x[t * stride + k * dilation - pad_left] + bias. */
void sa2_conv1d(sa2_stream *s, sa2_conv1d_args a);

typedef struct sa2_conv_transpose1d_args {
    sa2_tensor y;        /* [sum of (len - 1) * stride - 2 pad + kernel, out] f32, dense */
    sa2_tensor x;        /* [rows, in] f32 */
    sa2_rows sequences;  /* of x */
    const sa2_matrix *w; /* by sa2_matrix_write_transpose() */
    sa2_tensor bias;     /* [out] or absent */
    int kernel, stride, pad;
    sa2_activation input;
    float input_slope;
} sa2_conv_transpose1d_args;

/* y[j] = sum over k, t with t * stride + k - pad = j of w[:, :, k]^T x[t], plus bias. */
void sa2_conv_transpose1d(sa2_stream *s, sa2_conv_transpose1d_args a);

/* The matrix of a transposed convolution, src [in, out, kernel] f32 on the host, as PyTorch stores it:
 * by phases, w [stride * out, ceil(kernel / stride) * in]. */
void sa2_matrix_write_transpose(sa2_stream *s, sa2_matrix *w, sa2_tensor src, int stride);

/* y [T, F', out] = activation(conv of x [T, F, in] with w [out, 3 * 3 * in] (time tap, frequency tap, channel) + bias
 * (+ y with accumulate)), zero padding of kernel / 2 on both axes, stride on the frequency axis, f32. */
typedef struct sa2_conv2d_args {
    sa2_tensor y, x;
    const sa2_matrix *w;
    sa2_tensor bias;
    int kernel, stride; /* 1 or 3; F' = (F - 1) / stride + 1 */
    bool accumulate;    /* before the activation: a residual */
    sa2_activation activation;
} sa2_conv2d_args;
void sa2_conv2d(sa2_stream *s, sa2_conv2d_args a);

/* y[t, c] = x[t, c] + sum_k w[c, k] x[t + k - pad_left, c] in each sequence, zeros outside: FSMN memory.
 * y, x [rows, channels] f32, y not x; w [channels, kernel] f32. */
void sa2_depthwise_memory(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor w,
                          sa2_rows sequences, int pad_left);

/* ---- norms: rms_norm.c, layer_norm.c ---- */

/* y = x / sqrt(mean(x^2) + eps) * weight over the last dimension.
 * Maths: Zhang & Sennrich 2019, eq. 4, with eps under the root as Qwen2RMSNorm has it.
 *   x [rows, hidden] f32 or bf16; y the same shape, f32 or bf16; weight [hidden] f32. y may be x. */
void sa2_rms_norm(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor weight, float eps);

typedef struct sa2_layer_norm_args {
    sa2_tensor y, x;         /* [rows, n] or [rows, heads, n], f32 or bf16 each; y may be x */
    sa2_tensor weight, bias; /* [n] or both absent */
    float eps;
    sa2_tensor scale, shift; /* [g, n] or both absent: y = norm(x) (1 + scale) + shift */
    sa2_tensor table_rows;   /* i32 [rows], the row of scale and shift; absent: row 0 */
    sa2_activation activation;
} sa2_layer_norm_args;

/* (x - mean) / sqrt(variance + eps) over the last dimension, variance biased (Ba et al. 2016, eq. 4). */
void sa2_layer_norm(sa2_stream *s, sa2_layer_norm_args a);

/* ---- rotary positions: rope.c ---- */

/* In place, half-split pairs: x[i], x[i + d/2] turned by position * theta^(-2i/d) (Su et al. 2021, eq. 34).
 *   x [rows, heads, d] f32 or bf16; positions i32 [rows]. Angles and products in f32, one rounding. */
void sa2_rope(sa2_stream *s, sa2_tensor x, sa2_tensor positions, float theta);

/* ---- attention: attention.c, kv_store.c, attention_paged.c ---- */

/* Keys and values that lie together: [n, heads, d], each with its own stride. */
typedef struct sa2_key_segment {
    sa2_tensor k, v;
} sa2_key_segment;

typedef struct sa2_attention_args {
    sa2_tensor y;           /* [q rows, heads, d] f32 or bf16 */
    sa2_tensor q;           /* [q rows, heads, d]; q, k, v of one dtype, f32 or bf16 */
    sa2_tensor k, v;        /* [k rows, heads, d]; absent with segments */
    sa2_rows queries, keys; /* as many sequences in both */
    /* Host; NULL: k and v. The keys of sequence i are those of segments keys.offsets[i] to
     * keys.offsets[i + 1] - 1, one after the other; segments may share memory.
     * The result is that of the same keys in one piece, bit for bit. */
    const sa2_key_segment *segments;
    const int32_t
        *n_visible; /* host [n]: keys of sequence i that are seen, the first ones; NULL: all */
    float scale;
    /* Relative positions (Dai et al. 2019, eq. 5): score = ((q + u) k + (q + w) r[distance]) * scale,
     * distance = first_position + query index - key index. Absent: plain. */
    sa2_tensor u, w; /* f32 [heads, d] */
    sa2_tensor r;    /* [2 reach - 1, heads, d], dtype of q; row reach - 1 is distance 0, rising */
    const int32_t *first_position; /* host [n]: place of the first query among the keys */
} sa2_attention_args;

/* softmax(scores) v, every query of a sequence over its visible keys, softmax in f32 (Vaswani et al. 2017, eq. 1). */
void sa2_attention(sa2_stream *s, sa2_attention_args a);

/* A cache of keys and values in pages of fixed size. The layout inside a page is the backend's own:
 * pages are written by sa2_kv_store() and read by sa2_attention_paged() alone. */
typedef struct sa2_kv_cache_view {
    void *pages; /* n_pages * sa2_kv_page_bytes(), memory of the backend */
    int n_pages;
    int page_size; /* positions in a page: a multiple of 16 */
    int kv_heads, head_dim;
    sa2_dtype dtype; /* F32, BF16 or I8 */
} sa2_kv_cache_view;

/* Of a row, which is one position, one kv head, keys or values, with its step where there is one; and of a page. */
static inline size_t sa2_kv_row_bytes(sa2_dtype dtype, int head_dim)
{
    size_t step = dtype == SA2_I8 ? sizeof(float) : 0;
    return (size_t)head_dim * sa2_dtype_bytes(dtype) + step;
}

static inline size_t sa2_kv_page_bytes(const sa2_kv_cache_view *cache)
{
    return 2 * (size_t)cache->kv_heads * (size_t)cache->page_size *
           sa2_kv_row_bytes(cache->dtype, cache->head_dim);
}

/* Which rows belong to whom. Row r of sequence i is at position first_position[i] + r - rows.offsets[i];
 * position p of sequence i is in page block_table[i * max_pages + p / page_size]. Host memory. */
typedef struct sa2_paged_rows {
    sa2_rows rows;
    const int32_t *first_position; /* [n] */
    const int32_t *block_table;    /* [n, max_pages] */
    int max_pages;
} sa2_paged_rows;

/* Writes k, v [rows, kv_heads, d] to their positions. They have the cache's dtype; in a cache of I8, f32 or bf16. There
 * each d values of a row become whole steps, -127 to 127, of their largest magnitude / 127, rounded to nearest even; the
 * step, an f32, lies in the page as well. All are 0 where none reaches 2^-100, and NaN where one is not finite. */
void sa2_kv_store(sa2_stream *s, const sa2_kv_cache_view *cache, sa2_tensor k, sa2_tensor v,
                  const sa2_paged_rows *where);

typedef struct sa2_page_copy {
    int32_t from, to;
} sa2_page_copy;

/* Copies whole pages inside the cache, one after the other in this order; copies in host memory. */
void sa2_kv_copy(sa2_stream *s, const sa2_kv_cache_view *cache, const sa2_page_copy *copies, int n);

/* Causal grouped-query attention over the cache: the query at position p sees keys 0 to p, its own
 * stored before. Head h of q uses kv head h / (heads / kv_heads).
 *   y, q [rows, heads, d], of one dtype: the cache's; over I8, f32 or bf16, where a product in bf16 rounds values, but
 *   not keys, times their steps to it. The result of a row depends on its position and
 *   keys alone: not on other rows, on how rows are cut into calls, nor on which pages hold the keys. */
void sa2_attention_paged(sa2_stream *s, sa2_tensor y, sa2_tensor q, const sa2_kv_cache_view *cache,
                         const sa2_paged_rows *where, float scale);

/* ---- rows and elements: embedding.c, elementwise.c, pool.c ---- */

/* y[r] = table[ids[r]]: y [rows, n] f32 or bf16, table [count, n] f32 or bf16, ids i32 [rows] in [0, count). */
void sa2_embedding(sa2_stream *s, sa2_tensor y, sa2_tensor table, sa2_tensor ids);

/* y[rows[r]] = x[r]: x [n, c], rows i32 [n] in y, y and x f32 or bf16. */
void sa2_scatter_rows(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor rows);

/* y[to[r]] = x[from[r]]: y [., c], x [., c] apart from y, to and from i32 [n]; f32 or bf16 each. No row of y
 * is named twice. */
void sa2_copy_rows(sa2_stream *s, sa2_tensor y, sa2_tensor to, sa2_tensor x, sa2_tensor from);

/* y = x, converted; same shape, any strides. */
void sa2_copy(sa2_stream *s, sa2_tensor y, sa2_tensor x);

/* y = a + b. b has the shape of a, or one row less dimension: [c], added to every row. f32 or bf16 each. */
void sa2_add(sa2_stream *s, sa2_tensor y, sa2_tensor a, sa2_tensor b);

/* y = a x + b z; y, x, z of one shape, f32 or bf16 each. y may be x or z. */
void sa2_mix(sa2_stream *s, sa2_tensor y, float a, sa2_tensor x, float b, sa2_tensor z);

/* y = activation(x); alpha [c] for SA2_ACT_SNAKE, else absent. */
void sa2_activate(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_activation activation, float slope,
                  sa2_tensor alpha);

/* y = activation(x * scale + shift), scale and shift f32 [c]: y, x [rows, c] f32 or bf16 each; y may be x. */
void sa2_affine(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor scale, sa2_tensor shift,
                sa2_activation activation);

/* ---- statistics of rows: pool.c, statistics.c ---- */

/* Mean of every `kernel` rows, stride `kernel`, a trailing rest dropped, in each sequence:
 * y [sum of floor(len / kernel), c], x [rows, c]. */
void sa2_mean_pool(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int kernel);

/* What the sum of a last segment of fewer rows is divided by. */
typedef enum sa2_partial_rule {
    SA2_PARTIAL_KERNEL = 0, /* the rows of a whole segment, as if zeros followed */
    SA2_PARTIAL_TRUE,       /* the rows that it has */
} sa2_partial_rule;

/* Mean of each segment of `segment` rows plus the mean of the whole sequence it lies in:
 * y [sum of ceil(len / segment), c], x [rows, c], f32. */
void sa2_segment_context(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int segment,
                         sa2_partial_rule partial);

/* Of each sequence, of two rows or more, the mean and then the standard deviation (divisor rows - 1) of every
 * channel: y [n, 2 c], x [rows, c], f32. */
void sa2_mean_deviation(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences);

/* ---- choosing tokens: sample.cu; on the processor SA2_ERR_UNSUPPORTED, where rows of logits are at hand anyway ---- */

/* How the token of a row is chosen. In this order: additions, penalties, then the largest (scale 0), or a draw with the
 * weights 2^((z - largest) scale) among what min-p, top-k and top-p leave. Equal logits: the lower id counts as the more
 * likely, but all that equal the k-th value survive top-k. */
typedef struct sa2_sample_rule {
    float repetition; /* over ids that are seen: z < 0 ? z repetition : z / repetition; 1: off */
    float frequency,
        presence;    /* over ids that are counted: z -= frequency count + presence; 0: off */
    float scale;     /* 1 / (temperature ln 2), or 0 */
    int32_t top_k;   /* 0: off */
    float top_p;     /* (0, 1]; the fewest tokens that hold this share of the mass */
    float min_p;     /* what z may lie below the largest, <= 0; -infinity: off */
    bool min_p_last; /* top-p sees the mass of tokens that min-p then takes away */
} sa2_sample_rule;

/* One row. Its draws are of sequences that have said the same so far. */
typedef struct sa2_sample_row {
    sa2_sample_rule rule;
    int32_t row;  /* of logits */
    int32_t slot; /* of state, for penalties; -1 without */
    int32_t first_addition, n_additions;
    int32_t first_draw, n_draws;
    bool wants_mass;
} sa2_sample_row;

typedef struct sa2_logit_addition {
    int32_t id;
    float addend; /* -infinity: never chosen */
} sa2_logit_addition;

typedef struct sa2_sample_draw {
    double u;     /* [0, 1): which share of the mass lies below the token, by rising id */
    int32_t slot; /* of state, where the token is seen and counted from now on; -1: nowhere */
} sa2_sample_draw;

typedef enum sa2_sample_fault {
    SA2_SAMPLE_GOOD = 0,
    SA2_SAMPLE_NO_NUMBER, /* `token` has the lowest logit that is NaN or +infinity, before or after changes: `logit` */
    SA2_SAMPLE_MASKED, /* all logits are -infinity */
} sa2_sample_fault;

/* What a draw gave. The token's log-probability is logit - largest - ln(mass 2^-40). */
typedef struct sa2_sampled {
    uint64_t
        mass; /* of e^(z - largest) over the row as it came, in steps (token_weights.h); 0 unless wanted */
    int32_t token;
    int32_t fault;        /* sa2_sample_fault */
    float logit, largest; /* of the row as it came */
} sa2_sampled;

typedef struct sa2_sample_args {
    sa2_tensor results; /* u8 [draws, sizeof(sa2_sampled)] */
    sa2_tensor logits;  /* f32 [rows, vocab]; what is changed is put back */
    int n_tokens;       /* columns that count: the first ones */
    sa2_tensor state;   /* u8 [slots, sa2_sample_state_bytes()] or absent: who has said what */
    /* Host. Rows by rising row; the draws of the first row, then those of the second, and so on. */
    const sa2_sample_row *rows;
    const sa2_sample_draw *draws;
    const sa2_logit_addition *additions;
    int n_rows, n_draws, n_additions;
} sa2_sample_args;

/* Chooses a token for every draw, to the bit as every other implementation of these rules: weights and masses are whole
 * steps. A row with a fault chooses nothing and leaves the state as it is. */
void sa2_sample(sa2_stream *s, sa2_sample_args a);

/* ids[i] = the token of draw from[i], 0 where that has a fault: who goes on from it is told later, and ops need an id.
 *   ids      i32 [n]
 *   results  u8 [draws, sizeof(sa2_sampled)], of sa2_sample()
 *   from     [n], host */
void sa2_sampled_ids(sa2_stream *s, sa2_tensor ids, sa2_tensor results, const int32_t *from);

/* Of one slot: the bitmap u64 [ceil(n / 64)] of ids that are seen, then u16 [n], how often each was chosen (at most
 * 65535), then nothing up to a multiple of 8. */
static inline size_t sa2_sample_state_bytes(int n_tokens)
{
    size_t words = (size_t)n_tokens / 64 + (n_tokens % 64 != 0);
    return (words * 8 + (size_t)n_tokens * 2 + 7) / 8 * 8;
}

/* ---- spectra: stft.c ---- */

/* From a product with a basis: z [frames, 2 bins], real parts then imaginary parts, f32.
 * y [frames, bins] = re^2 + im^2, or with magnitude sqrt(re^2 + im^2 + eps). */
void sa2_spectrum(sa2_stream *s, sa2_tensor y, sa2_tensor z, bool magnitude, float eps);

typedef enum sa2_log_kind { SA2_LOG_E, SA2_LOG_10 } sa2_log_kind;

/* y = log(max(y, floor)), in place, f32; floor a normal number above 0. */
void sa2_log_floor(sa2_stream *s, sa2_tensor y, sa2_log_kind kind, float floor);

/* In each sequence: y = (max(y, largest - range) + shift) * scale, in place, f32 (Whisper's log-mel). */
void sa2_clamp_to_range(sa2_stream *s, sa2_tensor y, sa2_rows sequences, float range, float shift,
                        float scale);

/* ---- waves: wave.c, oscillator.c, noise.c; all f32 and dense ---- */

/* Each sequence with `before` rows in front and `after` behind it, mirrored at its first and its last
 * row, which is not repeated: y [sum of (len + before + after), c], x [rows, c], y not x; no len may
 * be below before + 1 or after + 1. */
void sa2_reflect_pad(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int before,
                     int after);

/* Real parts, then imaginary parts, of spectra given by logarithms of magnitudes, then by numbers
 * whose sines are the phases: y, z [frames, 2 bins], y may be z,
 *   y[k] = m cos(p), y[bins + k] = m sin(p), m = min(e^z[k], most), p = sin(z[bins + k]). */
void sa2_polar(sa2_stream *s, sa2_tensor y, sa2_tensor z, float most);

typedef struct sa2_overlap_add_args {
    sa2_tensor y;       /* [sum over sequences of (len - 1) * hop + n - 2 trim] */
    sa2_tensor x;       /* [frames, n], each times the window already; n a multiple of hop */
    sa2_rows sequences; /* of x; a sequence that gives fewer than one sample gives none */
    sa2_tensor window;  /* [n] */
    int hop, trim;      /* trim: samples left out at either end of a sequence */
    float limit;        /* y is clamped to [-limit, limit]; infinity: it is not */
} sa2_overlap_add_args;

/* The sum of the frames, each hop after the one before it, divided by that of the squared windows
 * (Griffin & Lim 1984, eq. 6). */
void sa2_overlap_add(sa2_stream *s, sa2_overlap_add_args a);

typedef struct sa2_harmonics_args {
    sa2_tensor y;                    /* [frames * hop] */
    sa2_tensor f0;                   /* [frames], Hz */
    sa2_rows sequences;              /* of f0 */
    sa2_tensor weight;               /* [harmonics] */
    sa2_tensor bias;                 /* [1] */
    sa2_tensor noise;                /* [frames * hop, harmonics]; absent: 0 */
    int hop;                         /* samples of a frame, even */
    float rate;                      /* samples a second */
    float threshold;                 /* Hz: a frame above it is voiced */
    float amplitude;                 /* of a sine in a voiced frame; 0 in others */
    float voiced_noise, other_noise; /* what noise is multiplied by in voiced and in other frames */
} sa2_harmonics_args;

/* y[j] = tanh(bias + sum over h of weight[h] (amplitude sin(phase) + noise)): sines at f0, 2 f0, ...
 * (Wang et al. 2019, "Neural source-filter", eq. 2, with HiFT's phase). The phase of a harmonic at
 * the middle of frame i is hop * 2 pi * sum of frac(h f0 / rate) over frames 0 to i, linear between
 * middles and constant outside them. It is summed in double and reduced before the sine. */
void sa2_harmonics(sa2_stream *s, sa2_harmonics_args a);

/* y[i] = number first + i of a sequence of standard normal numbers that seed and track name, whatever
 * is asked for beside it. Box & Muller 1958 on Philox4x32-10 (Salmon et al. 2011): key = seed,
 * counter = {number / 4 in 64 bits, track, 1}; magnitudes end at 5.77. y of any shape. */
void sa2_normal(sa2_stream *s, sa2_tensor y, uint64_t seed, uint32_t track, int64_t first);

/* y[i] = x[i] w[i] + z[i] w[n + i]: from z over to x under the two halves of a Hamming window of 2n
 * points, w[i] = 0.54 - 0.46 cos(2 pi i / (2n - 1)); computed in double, rounded once. All [n];
 * y may be x or z. */
void sa2_cross_fade(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_tensor z);

#endif
