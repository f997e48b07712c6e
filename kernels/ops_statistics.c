/* Statistics of rows: shapes of means, segments and deviations. */
#include "kernels/ops_check.h"

void sa2_mean_pool(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int kernel)
{
    if (s->status != SA2_OK)
        return;
    int64_t rows = 0;
    bool covered = kernel >= 1 && x.ndim == 2 && are_sequences(sequences, x.shape[0]);
    for (int i = 0; covered && i < sequences.n; i++)
        rows += (sequences.offsets[i + 1] - sequences.offsets[i]) / kernel;
    if (!covered || y.ndim != 2 || y.shape[0] != rows || y.shape[1] != x.shape[1] ||
        !is_float(&y) || !is_float(&x))
        sa2_refuse(s, "mean_pool", "y [sum of floor(len / kernel), c], x [rows, c] expected", 2,
                   (sa2_named[]){{"y", &y}, {"x", &x}});
    else if (rows > 0)
        s->status = s->ops->mean_pool(s, y, x, sequences, kernel, &s->error);
}

void sa2_segment_context(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences, int segment,
                         sa2_partial_rule partial)
{
    if (s->status != SA2_OK)
        return;
    int64_t rows = 0;
    bool covered = segment >= 1 && x.ndim == 2 && are_sequences(sequences, x.shape[0]);
    for (int i = 0; covered && i < sequences.n; i++)
        rows += ((int64_t)sequences.offsets[i + 1] - sequences.offsets[i] + segment - 1) / segment;
    if (!covered || y.ndim != 2 || y.shape[0] != rows || y.shape[1] != x.shape[1] ||
        y.dtype != SA2_F32 || x.dtype != SA2_F32)
        sa2_refuse(s, "segment_context",
                   "y f32 [sum of ceil(len / segment), c], x f32 [rows, c] expected", 2,
                   (sa2_named[]){{"y", &y}, {"x", &x}});
    else
        s->status = s->ops->segment_context(s, y, x, sequences, segment, partial, &s->error);
}

void sa2_mean_deviation(sa2_stream *s, sa2_tensor y, sa2_tensor x, sa2_rows sequences)
{
    if (s->status != SA2_OK)
        return;
    bool covered = x.ndim == 2 && are_sequences(sequences, x.shape[0]);
    for (int i = 0; covered && i < sequences.n; i++)
        covered = sequences.offsets[i + 1] - sequences.offsets[i] >= 2;
    if (!covered || y.ndim != 2 || y.shape[0] != sequences.n || y.shape[1] != 2 * x.shape[1] ||
        y.dtype != SA2_F32 || x.dtype != SA2_F32)
        sa2_refuse(s, "mean_deviation",
                   "y f32 [n, 2 c], x f32 [rows, c] in sequences of two rows or more expected", 2,
                   (sa2_named[]){{"y", &y}, {"x", &x}});
    else
        s->status = s->ops->mean_deviation(s, y, x, sequences, &s->error);
}
