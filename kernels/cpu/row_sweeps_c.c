/* row_sweeps_c.c - row_sweeps.h in plain C. */
#include "kernels/cpu/row_sweeps_body.h"

const sa2_row_sweeps *sa2_row_sweeps_c(void)
{
    return &sweeps;
}
