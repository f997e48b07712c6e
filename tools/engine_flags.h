/* engine_flags.h - the options that every subcommand with a model takes, named as vLLM names them.
 */
#ifndef SA2_TOOLS_ENGINE_FLAGS_H
#define SA2_TOOLS_ENGINE_FLAGS_H

#include "runtime/engine.h"
#include "tools/model_place.h"
#include "tools/options.h"
#include "tools/quant_flags.h"
#include "tools/rank_flags.h"
#include "tools/terminal.h"

enum { SA2_ENGINE_FLAGS_MAX = 25, SA2_SAMPLING_FLAGS_MAX = 28 };

/* ---- the engine ---- */

typedef struct sa2_engine_flags {
    const char *model; /* a path, once it was expected */
    char place[SA2_MODEL_PLACE];
    sa2_engine_options options;
    const char *dtype, *kv_dtype, *audio_rule, *template; /* kv_dtype NULL: not given */
    const char *sampling;
    sa2_quant_flags quant;
    sa2_rank_flags ranks;
    bool verbose;
    sa2_progress progress;
    sa2_option table[SA2_ENGINE_FLAGS_MAX]; /* for an option group */
} sa2_engine_flags;

/* Sets defaults and fills the table, which points into *flags. */
void sa2_engine_flags_init(sa2_engine_flags *flags);

/* False after saying that no model was given; else it is a path from then on. */
bool sa2_engine_flags_expect(sa2_engine_flags *flags, const sa2_usage_text *usage);

/* After reading: checks the values and opens the engine, with the plan on stderr when verbose. NULL: there is nothing to do
 * but to exit with *exit_code, after a failure that is explained, or because this is a rank other than 0 and rank 0 has
 * ended. */
sa2_engine *sa2_engine_flags_open(sa2_engine_flags *flags, const sa2_usage_text *usage,
                                  int *exit_code);

/* Destroys it, and lets the other ranks go. */
void sa2_engine_flags_close(sa2_engine_flags *flags, sa2_engine *engine);

/* "auto", "host" or "device"; false after saying what it is instead. */
bool sa2_sampling_place_read(const char *text, const sa2_usage_text *usage,
                             sa2_sampling_place *place);

/* ---- sampling ---- */

typedef struct sa2_sampling_flags {
    sa2_request request; /* sampling, beams, stops, lengths; the rest is left alone */
    sa2_option_list stop, stop_ids, logit_bias, allowed;
    bool hf;
    int top_k; /* -2: not given */
    int32_t stop_id_values[SA2_OPTION_LIST_MAX], allowed_values[SA2_OPTION_LIST_MAX];
    sa2_logit_bias bias_values[SA2_OPTION_LIST_MAX];
    sa2_option table[SA2_SAMPLING_FLAGS_MAX];
} sa2_sampling_flags;

void sa2_sampling_flags_init(sa2_sampling_flags *flags, float temperature);

/* After reading: brings lists into `request`, which then points into *flags. EX_OK or EX_USAGE. */
int sa2_sampling_flags_finish(sa2_sampling_flags *flags, const sa2_usage_text *usage);

#endif
