#include "kernels/row_sweeps.h"

#include <stddef.h>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/row_sweeps_sets.h"

const sa2_row_sweeps *sa2_row_sweeps_in(int set)
{
    if (set == 2 && sa2_isa_present(SA2_ISA_AVX512))
        return sa2_row_sweeps_avx512();
    if (set == 1 && sa2_isa_present(SA2_ISA_AVX2))
        return sa2_row_sweeps_avx2();
    return set == 0 ? sa2_row_sweeps_c() : NULL;
}

const sa2_row_sweeps *sa2_row_sweeps_best(void)
{
    int set = SA2_ROW_SWEEPS_SETS - 1;
    while (sa2_row_sweeps_in(set) == NULL)
        set--;
    return sa2_row_sweeps_in(set);
}
