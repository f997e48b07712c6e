/* padded.cuh - a copy of packed sequences with rows of padding before and after each one, so that every patch of a
 * convolution lies in few stretches of memory; and lists of spans on their way to the device.
 */
#ifndef SA2_KERNELS_CUDA_PADDED_CUH
#define SA2_KERNELS_CUDA_PADDED_CUH

#include "kernels/cuda/product.cuh"

namespace sa2_cuda
{
struct padding {
    sa2_tensor x; /* [rows, in] f32 or bf16 */
    sa2_rows sequences;
    int before, after;  /* rows added to each sequence, zero but for: */
    sa2_tensor history; /* f32 [n, before, in] or absent */
    int activation;     /* of x, as it is copied */
    float slope;
    const float *alpha; /* [in] of SA2_ACT_SNAKE */
};

/* Where sequence i begins among the rows of the copy. */
static inline int64_t padded_start(const padding &p, int i)
{
    return p.sequences.offsets[i] + (int64_t)i * (p.before + p.after);
}

/* The copy, dense and in the dtype of x, in the scratch of s; NULL and the reason in err when there is no room. */
void *pad_rows(sa2_stream *s, const char *op, const padding &p, sa2_error *err);

/* Offsets of sequences on the device. */
const int32_t *offsets_to_device(sa2_stream *s, const char *op, sa2_rows sequences, sa2_error *err);

/* Offsets of what sequences of y have: parts of `each` rows of x, whole ones or a last short one too. */
const int32_t *part_offsets(sa2_stream *s, const char *op, sa2_rows sequences, int each, bool whole,
                            sa2_error *err);

/* The spans of a product: p->one, or p->spans on the device. NULL room for them is told in err. */
row_span *span_room(sa2_stream *s, const char *op, int n, sa2_error *err);
sa2_status set_spans(sa2_stream *s, const char *op, product *p, const row_span *spans, int n,
                     sa2_error *err);

/* The last sequence that begins at or before a row: the one that has it. */
static __device__ __forceinline__ int sequence_of(const int32_t *offsets, int n, long long row)
{
    int low = 0, high = n - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (offsets[middle] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
} // namespace sa2_cuda

#endif
