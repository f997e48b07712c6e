/* model_flags.h - the options of subcommands that use a part of a model by itself: its folder, and what computes.
 */
#ifndef SA2_TOOLS_MODEL_FLAGS_H
#define SA2_TOOLS_MODEL_FLAGS_H

#include "kernels/backend.h"
#include "tools/model_place.h"
#include "tools/options.h"

enum { SA2_MODEL_FLAGS_MAX = 8 };

typedef struct sa2_model_flags {
    const char *model; /* NULL: not given; a path, once it was expected */
    char place[SA2_MODEL_PLACE];
    sa2_backend_options device;
    bool quiet;
    sa2_option table[SA2_MODEL_FLAGS_MAX]; /* for an option group */
} sa2_model_flags;

/* Fills the table, which points into *flags. */
void sa2_model_flags_init(sa2_model_flags *flags);

/* EX_OK, and the model is a path; EX_USAGE after saying that none was given. */
int sa2_model_flags_expect(sa2_model_flags *flags, const sa2_usage_text *usage);

#endif
