/* cpu_ops.h - the ops of the CPU backend; contracts in kernels/ops.h.
 */
#ifndef SA2_KERNELS_CPU_CPU_OPS_H
#define SA2_KERNELS_CPU_CPU_OPS_H

#include "kernels/cpu/cpu_backend.h"

#endif
