#include "tools/check_token2wav.h"

#include "loader/token2wav_tensors.h"
#include "runtime/token2wav/token2wav_files.h"

/* Of the model that was given. */
static sa2_status open_file(sa2_tensor_map **map, const sa2_check_run *run, sa2_token2wav_file file,
                            sa2_error *err)
{
    char place[4096];
    sa2_token2wav_files files = {0};
    sa2_status st = sa2_token2wav_place(place, sizeof place, run->context->model, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_open(&files, place, err);
    if (st == SA2_OK)
        st = sa2_token2wav_files_map(&files, map, file, err);
    sa2_token2wav_files_close(&files);
    return st;
}

sa2_status sa2_check_token2wav_map(sa2_tensor_map **map, const sa2_check_run *run,
                                   sa2_token2wav_file file, sa2_error *err)
{
    const char *name = sa2_golden_text(run->golden, "preset");
    sa2_preset preset;
    int64_t seed;
    if (run->context->model != NULL)
        return open_file(map, run, file, err);
    if (name == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no preset, and no model was given",
                        sa2_golden_origin(run->golden));
    sa2_status st = sa2_preset_find(&preset, name, err);
    if (st == SA2_OK)
        st = sa2_golden_number(run->golden, "seed", INT64_MIN, INT64_MAX, &seed, err);
    if (st == SA2_OK)
        st = sa2_token2wav_synthetic_map(map, file, &preset, (uint64_t)seed, err);
    if (st == SA2_OK)
        sa2_tensor_map_set_threads(*map, sa2_backend_threads(run->context->backend));
    return st;
}

sa2_status sa2_check_flow_config(sa2_flow_config *config, const sa2_check_run *run, sa2_error *err)
{
    if (run->context->model != NULL) {
        char place[4096];
        return sa2_token2wav_look(config, place, sizeof place, run->context->model, err);
    }
    sa2_preset preset;
    const char *name = sa2_golden_text(run->golden, "preset");
    sa2_status st = name != NULL
                        ? sa2_preset_find(&preset, name, err)
                        : sa2_fail(err, SA2_ERR_FORMAT, "%s: no preset, and no model was given",
                                   sa2_golden_origin(run->golden));
    if (st == SA2_OK)
        *config = sa2_token2wav_preset_dims(&preset.token2wav).flow;
    return st;
}
