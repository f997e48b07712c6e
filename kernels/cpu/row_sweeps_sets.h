/* row_sweeps_sets.h - the compiled sets of row_sweeps.h, among which row_sweeps.c chooses.
 */
#ifndef SA2_KERNELS_CPU_ROW_SWEEPS_SETS_H
#define SA2_KERNELS_CPU_ROW_SWEEPS_SETS_H

#include "kernels/row_sweeps.h"

const sa2_row_sweeps *sa2_row_sweeps_c(void);
const sa2_row_sweeps *sa2_row_sweeps_avx2(void);
const sa2_row_sweeps *sa2_row_sweeps_avx512(void);

#endif
