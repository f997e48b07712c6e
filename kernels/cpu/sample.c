/* sample.c - contracts: sa2_sample() and sa2_sampled_ids() in kernels/ops.h. The first is for devices whose memory the host
 * does not see: here the rows that lie where they were computed are sampled by whoever asks, with the sweeps of
 * row_sweeps.h. */
#include "kernels/cpu/cpu_ops.h"

sa2_status sa2_cpu_sample(sa2_stream *s, const sa2_sample_args *a, sa2_error *err)
{
    (void)s;
    return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                    "sample: %d rows on the processor, which has no such op", a->n_rows);
}

sa2_status sa2_cpu_sampled_ids(sa2_stream *s, sa2_tensor ids, sa2_tensor results,
                               const int32_t *from, sa2_error *err)
{
    (void)s;
    (void)err;
    int32_t *to = ids.data;
    const sa2_sampled *draws = results.data;
    for (int64_t i = 0; i < ids.shape[0]; i++)
        to[i] = draws[from[i]].fault == SA2_SAMPLE_GOOD ? draws[from[i]].token : 0;
    return SA2_OK;
}
