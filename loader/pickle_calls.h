/* pickle_calls.h - what torch means by the globals and calls in a pickle of tensors.
 *
 * Source: torch/_utils.py (_rebuild_tensor_v2, _rebuild_parameter), torch/serialization.py
 * (persistent_id).
 */
#ifndef SA2_LOADER_PICKLE_CALLS_H
#define SA2_LOADER_PICKLE_CALLS_H

#include "loader/pickle_machine.h"

/* One opcode each; errors as in pickle_machine.h. */
sa2_status sa2_pickle_global(sa2_pickle_machine *m);
sa2_status sa2_pickle_persistent_id(sa2_pickle_machine *m);
sa2_status sa2_pickle_reduce(sa2_pickle_machine *m);
sa2_status sa2_pickle_build(sa2_pickle_machine *m);

#endif
