/* weights_native.h - weights that lie in a native file as the ops read them. Inside weights.c only.
 */
#ifndef SA2_RUNTIME_WEIGHTS_NATIVE_H
#define SA2_RUNTIME_WEIGHTS_NATIVE_H

#include "runtime/weights.h"

/* Sets data to the block `name` of the map's native file, which is in the host's memory, checked unless w only
 * measures; false when it has to be made: there is no native file, or it holds another dtype. Damage and another order of bytes are lines of
 * the report; data then stays NULL. Of a matrix that was rounded to fewer bits dtype is set: `quant` must be the same
 * or none. */
bool sa2_weights_native_tensor(sa2_weights *w, const char *name, sa2_tensor *x);
bool sa2_weights_native_matrix(sa2_weights *w, const char *name, sa2_quant quant,
                               sa2_matrix *matrix);

/* Cuts this rank's part of the block `name` into the matrix's data, bit for bit; false when there is no such block, or
 * no such cut in the device's order, and the part is to be copied by rows. */
bool sa2_weights_native_cut(sa2_weights *w, const char *name, sa2_matrix *matrix);

#endif
