/* token_list.h - speech tokens written as text.
 *
 * Whole numbers with blanks, line ends or a comma between; or the same within [ ], as JSON has it.
 */
#ifndef SA2_TOOLS_TOKEN_LIST_H
#define SA2_TOOLS_TOKEN_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

/* *tokens [*n] is malloc'ed, each at least 0 and below `vocab`; text [bytes] is from `origin`.
 * Errors, with origin, line and column (in bytes, from 1) and what stands there: SA2_ERR_FORMAT no number, a number out
 * of range, two commas, a bracket that is not closed, no token at all; SA2_ERR_LIMIT more than `most`; SA2_ERR_NOMEM. */
sa2_status sa2_token_list_parse(int32_t **tokens, int *n, const char *text, size_t bytes,
                                const char *origin, int vocab, int most, sa2_error *err);

#endif
