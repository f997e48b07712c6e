#include "tools/quant_flags.h"

#include <string.h>

static bool find(const char *option, const char *text, const sa2_usage_text *usage,
                 sa2_quant *quant)
{
    if (text == NULL || sa2_quant_find(quant, text))
        return true;
    sa2_options_refuse(usage, "--%s: none, int8, int4 or fp8 expected, \"%s\" found", option, text);
    return false;
}

bool sa2_quant_flags_finish(const sa2_quant_flags *flags, const sa2_usage_text *usage,
                            sa2_quant_options *options)
{
    *options = (sa2_quant_options){0};
    if (!find("quant", flags->layers, usage, &options->layers))
        return false;
    options->head = options->layers == SA2_QUANT_INT4 ? SA2_QUANT_INT8 : options->layers;
    return find("lm-head", flags->head, usage, &options->head);
}

bool sa2_kv_flag_finish(const char *text, const sa2_usage_text *usage, bool *int8)
{
    *int8 = text != NULL && strcmp(text, "int8") == 0;
    if (text == NULL || *int8 || strcmp(text, "auto") == 0)
        return true;
    sa2_options_refuse(usage, "--kv-cache-dtype: auto or int8 expected, \"%s\" found", text);
    return false;
}
