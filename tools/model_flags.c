#include "tools/model_flags.h"

#include <assert.h>
#include <string.h>
#include <sysexits.h>

void sa2_model_flags_init(sa2_model_flags *f)
{
    *f = (sa2_model_flags){0};
    const sa2_option table[] = {
        {"model", 'm', SA2_OPTION_TEXT, &f->model, "MODEL",
         "release folder, native file, or nano: the small one that is built in"},
        {"device", 0, SA2_OPTION_TEXT, &f->device.device, "NAME", "auto or cpu"},
        {"isa", 0, SA2_OPTION_TEXT, &f->device.isa, "NAME",
         "auto, c, avx2, avx512, avx512bf16, amx"},
        {"threads", 't', SA2_OPTION_INT, &f->device.n_threads, "N",
         "threads of the CPU backend (all processors)"},
        {"quiet", 'q', SA2_OPTION_FLAG, &f->quiet, NULL, "no progress, no figures"},
        {0},
    };
    static_assert(sizeof table <= sizeof f->table, "the table has room");
    memcpy(f->table, table, sizeof table);
}

int sa2_model_flags_expect(sa2_model_flags *f, const sa2_usage_text *usage)
{
    f->model = sa2_model_place(f->place, f->model);
    if (f->model != NULL)
        return EX_OK;
    return sa2_options_refuse(usage, "--model: a folder expected, none given");
}
