/* floats_avx2.c - floats.h in AVX2 with FMA. */
#include "kernels/cpu/floats_body.h"

const sa2_floats *sa2_floats_avx2(void)
{
    return &floats_table;
}
