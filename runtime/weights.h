/* weights.h - takes a part's tensors out of a map, into the layouts that the ops read.
 *
 * A part's _load() runs twice over the same calls: first to measure (arena NULL: sizes add up, no
 * value is read), then to load into an arena of that size. Every tensor is asked for even after a
 * failure, so one report names all that is wrong.
 *
 * Out of a map of a native file (pack_map.h) they are not copied: a block that holds the weight in the layout that
 * the stream's ops read is checked and used where it lies, as long as somebody keeps the file open. With a sink a
 * third pass over the same calls writes such a file; nothing is loaded then.
 *
 * With a shard a part asks for the sizes that its rank has; which rows or columns they are is loader/shard.h's.
 *
 * Vectors become f32. Matrices become `dtype`, those of linear layers what `quant` says. Names are printf formats of the checkpoint's names.
 */
#ifndef SA2_RUNTIME_WEIGHTS_H
#define SA2_RUNTIME_WEIGHTS_H

#include "kernels/base/arena.h"
#include "kernels/ops.h"
#include "loader/shard.h"
#include "loader/tensor_map.h"
#include "runtime/quant.h"

typedef struct sa2_weights {
    sa2_stream *stream;         /* gives the layout, and runs the conversions */
    sa2_tensor_map *map;        /* may be NULL while measuring */
    sa2_arena *arena;           /* memory of the backend; NULL: measure */
    sa2_arena *host;            /* for sa2_weights_host(); NULL: `arena` */
    struct sa2_pack_sink *sink; /* takes all weights; NULL: there is none */
    sa2_dtype dtype;            /* of matrices and tables */
    sa2_quant quant;            /* of linear layers; a part sets it as it goes */
    sa2_quant_options decoder;  /* what the decoder sets it to */
    const sa2_shard *shard;     /* what this rank takes of the decoder; NULL: everything */
    const char *prefix;         /* before every name; "" */
    size_t bytes;               /* the most that was taken at one time */
    size_t used;                /* taken now */
    size_t host_bytes; /* what sa2_weights_host() asked for, apart; in `arena` without `host` */
    size_t mapped;     /* used where they lie in a native file */
    void (*progress)(void *context, size_t bytes); /* after each layer; NULL: nobody asks */
    void *context;
    sa2_status status; /* of the first failure */
    sa2_error *err;    /* the report */
} sa2_weights;

/* f32 [n]. */
sa2_tensor sa2_weights_vector(sa2_weights *w, int64_t n, const char *name, ...)
    __attribute__((format(printf, 3, 4)));

/* Row-major [rows, cols] in `dtype`, for sa2_embedding() and sa2_add(). */
sa2_tensor sa2_weights_table(sa2_weights *w, int64_t rows, int64_t cols, const char *name, ...)
    __attribute__((format(printf, 4, 5)));

/* A linear layer's [rows, cols] = [out, in]. */
sa2_matrix sa2_weights_matrix(sa2_weights *w, int64_t rows, int64_t cols, const char *name, ...)
    __attribute__((format(printf, 4, 5)));

/* One matrix [sum of rows, cols] out of several, and the bias that goes with it. A part without bias
 * has zeros there. */
typedef struct sa2_weights_part {
    const char *name; /* what stands before ".weight" and ".bias" */
    int64_t rows;
    bool has_bias;
} sa2_weights_part;
sa2_matrix sa2_weights_stack(sa2_weights *w, int64_t cols, const char *prefix, int n,
                             const sa2_weights_part *parts, sa2_tensor *bias);

/* gate and up [n, cols] for a product with `swiglu`. */
sa2_matrix sa2_weights_swiglu(sa2_weights *w, int64_t n, int64_t cols, const char *prefix,
                              const char *gate, const char *up);

/* A convolution's [out, in, kernel], tap by tap for sa2_conv1d(). */
sa2_matrix sa2_weights_conv1d(sa2_weights *w, int64_t out, int64_t in, int64_t kernel,
                              const char *name, ...) __attribute__((format(printf, 5, 6)));

/* A transposed convolution's [in, out, kernel], by phases for sa2_conv_transpose1d(). */
sa2_matrix sa2_weights_conv_transpose1d(sa2_weights *w, int64_t in, int64_t out, int64_t kernel,
                                        int stride, const char *name, ...)
    __attribute__((format(printf, 6, 7)));

/* A convolution's [out, in, kernel, kernel] over frequency and time, for sa2_conv2d(). */
sa2_matrix sa2_weights_conv2d(sa2_weights *w, int64_t out, int64_t in, int64_t kernel,
                              const char *name, ...) __attribute__((format(printf, 5, 6)));

/* A convolution's [out, maps * bins, kernel] over the flat rows that sa2_conv2d() leaves: channel map * bins + bin
 * of the checkpoint is bin * maps + map here. */
sa2_matrix sa2_weights_conv1d_of_maps(sa2_weights *w, int64_t out, int64_t maps, int64_t bins,
                                      int64_t kernel, const char *name, ...)
    __attribute__((format(printf, 6, 7)));

/* [channels, 1, kernel] as f32 [channels, kernel], for sa2_depthwise_memory(). */
sa2_tensor sa2_weights_depthwise(sa2_weights *w, int64_t channels, int64_t kernel, const char *name,
                                 ...) __attribute__((format(printf, 4, 5)));

/* i32 [n]: element i is i / repeat. Positions, and the segment of each row. */
sa2_tensor sa2_weights_index(sa2_weights *w, int64_t n, int64_t repeat);

/* What was taken out of the map so far has been copied: its memory may go. After each layer. */
void sa2_weights_release(sa2_weights *w);

/* Room for a tensor that the part computes itself while it loads. Its data is NULL while measuring and when
 * it does not fit; sa2_weights_computes() says whether to compute anything. */
sa2_tensor sa2_weights_room(sa2_weights *w, sa2_dtype dtype, int64_t rows, int64_t cols);
bool sa2_weights_computes(const sa2_weights *w); /* loading, and nothing failed so far */

/* What is taken between the two is given back: weights that serve to compute others. */
size_t sa2_weights_mark(const sa2_weights *w);
void sa2_weights_rewind(sa2_weights *w, size_t mark);

/* Zeroed host memory of the model's lifetime, for a part's array of layers. NULL while measuring and
 * when it does not fit. Without an arena `host`, the other one must lie in host memory. */
void *sa2_weights_host(sa2_weights *w, size_t bytes);

#endif
