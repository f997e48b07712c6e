/* row_sweeps_avx2.c - row_sweeps.h in AVX2. */
#include "kernels/cpu/row_sweeps_body.h"

const sa2_row_sweeps *sa2_row_sweeps_avx2(void)
{
    return &sweeps;
}
