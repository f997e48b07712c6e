/* cpu_ops.h - the ops of the CPU backend; contracts in kernels/ops.h.
 */
#ifndef SA2_KERNELS_CPU_CPU_OPS_H
#define SA2_KERNELS_CPU_CPU_OPS_H

#include "kernels/cpu/cpu_backend.h"

sa2_status sa2_cpu_kv_copy(sa2_stream *s, const sa2_kv_cache_view *cache,
                           const sa2_page_copy *copies, int n, sa2_error *err);

#endif
