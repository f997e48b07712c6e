/* attention_tile_avx512.c - attention_tile.h in AVX-512. */
#include "kernels/cpu/attention_tile_body.h"

const sa2_tile_kernels *sa2_tile_avx512(void)
{
    return &tile_table;
}
