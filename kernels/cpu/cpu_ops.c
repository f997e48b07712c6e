/* cpu_ops.c - the CPU backend's entry for every op of ops.h. */
#include "kernels/cpu/cpu_ops.h"

const sa2_ops sa2_cpu_ops = {
    .name = "cpu",
    .kv_copy = sa2_cpu_kv_copy,
};
