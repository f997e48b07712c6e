/* quant_flags.h - the options that choose to how many bits weights, and keys and values, are rounded.
 */
#ifndef SA2_TOOLS_QUANT_FLAGS_H
#define SA2_TOOLS_QUANT_FLAGS_H

#include "runtime/quant.h"
#include "tools/options.h"

typedef struct sa2_quant_flags {
    const char *layers, *head; /* NULL: not given */
} sa2_quant_flags;

#define SA2_QUANT_CHOICE "weights of the decoder: none, int8, int4 or fp8"

/* Two lines of a table of options. */
#define SA2_QUANT_OPTIONS(flags)                                                                   \
    {"quant",          0,      SA2_OPTION_TEXT,                                                    \
     &(flags)->layers, "TYPE", SA2_QUANT_CHOICE " (none; a native file's as they are)"},           \
    {                                                                                              \
        "lm-head", 0, SA2_OPTION_TEXT, &(flags)->head, "TYPE",                                     \
            "of lm_head (as --quant; int8 for int4)"                                               \
    }

/* A line of a table of options; `text` begins as NULL. */
#define SA2_KV_OPTION(text)                                                                        \
    {                                                                                              \
        "kv-cache-dtype", 0, SA2_OPTION_TEXT, text, "TYPE",                                        \
            "keys and values: auto (as --dtype) or int8"                                           \
    }

/* After reading. False after a complaint. */
bool sa2_kv_flag_finish(const char *text, const sa2_usage_text *usage, bool *int8);
bool sa2_quant_flags_finish(const sa2_quant_flags *flags, const sa2_usage_text *usage,
                            sa2_quant_options *options);

#endif
