/* row_sweeps_avx512.c - row_sweeps.h in AVX-512. */
#include "kernels/cpu/row_sweeps_body.h"

const sa2_row_sweeps *sa2_row_sweeps_avx512(void)
{
    return &sweeps;
}
