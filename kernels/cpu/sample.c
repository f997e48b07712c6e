/* sample.c - contract: sa2_sample() in kernels/ops.h. It is for devices whose memory the host does not see: here the
 * rows that lie where they were computed are sampled by whoever asks, with the sweeps of row_sweeps.h. */
#include "kernels/cpu/cpu_ops.h"

sa2_status sa2_cpu_sample(sa2_stream *s, const sa2_sample_args *a, sa2_error *err)
{
    (void)s;
    return sa2_fail(err, SA2_ERR_UNSUPPORTED,
                    "sample: %d rows on the processor, which has no such op", a->n_rows);
}
