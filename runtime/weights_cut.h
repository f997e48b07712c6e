/* weights_cut.h - a rank's part of a matrix in a native file. Inside weights_native.c only.
 *
 * Whole rows are used where they lie, when the device's order allows that; columns are cut out of the mapped file, so
 * that of a block only the rank's own bytes are read. Checksums are of whole blocks: each rank checks some of them, all
 * together every one.
 */
#ifndef SA2_RUNTIME_WEIGHTS_CUT_H
#define SA2_RUNTIME_WEIGHTS_CUT_H

#include "kernels/layout.h"
#include "runtime/weights.h"

/* Some tensor of the block goes to several ranks. */
bool sa2_weights_is_cut(const sa2_weights *w, const sa2_pack_block *block);

/* Sets *data to the rank's part of a matrix, as long as `wanted` says, where it lies; false when it is to be cut out. */
bool sa2_weights_cut_in_place(sa2_weights *w, const sa2_pack_block *block, const sa2_tensor *wanted,
                              void **data);

/* Fills the matrix's data; false when the order has no such cut. */
bool sa2_weights_cut_out(sa2_weights *w, const sa2_pack_block *block, const sa2_layout *layout,
                         sa2_matrix *matrix);

/* Of a block that is cut, when it is this rank's turn. */
void sa2_weights_cut_check(sa2_weights *w, const sa2_pack_block *block);

#endif
