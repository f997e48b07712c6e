/* floats_avx512.c - floats.h in AVX-512. */
#include "kernels/cpu/floats_body.h"

const sa2_floats *sa2_floats_avx512(void)
{
    return &floats_table;
}
