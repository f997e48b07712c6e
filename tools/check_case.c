#include "tools/check_case.h"
#include "tools/check_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The parts of every area. */
static const sa2_check_part *const areas[] = {
    sa2_check_audio_parts,        sa2_check_hearing_parts,  sa2_check_decoder_parts,
    sa2_check_generation_parts,   sa2_check_sampling_parts, sa2_check_vocoder_parts,
    sa2_check_flow_encoder_parts, sa2_check_flow_dit_parts, sa2_check_flow_mel_parts,
    sa2_check_voice_parts,        sa2_check_speech_parts,
};

static const sa2_check_part *find(const char *name)
{
    for (size_t i = 0; i < sizeof areas / sizeof areas[0]; i++)
        for (const sa2_check_part *part = areas[i]; part->name != NULL; part++)
            if (strcmp(part->name, name) == 0)
                return part;
    return NULL;
}

sa2_status sa2_check_case(const sa2_golden_case *golden, const sa2_check_context *context,
                          sa2_check_report report, void *user, int *n_failed, sa2_error *err)
{
    const sa2_check_part *part = find(sa2_golden_part(golden));
    *n_failed = 0;
    if (part == NULL)
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "%s: part \"%.60s\" is not known",
                        sa2_golden_origin(golden), sa2_golden_part(golden));
    sa2_check_context how = *context;
    if (sa2_golden_text(golden, "tolerance_bf16") == NULL)
        how.dtype = SA2_F32;
    sa2_check_run run = {.golden = golden, .context = &how, .report = report, .user = user};
    sa2_status st = part->run(&run, err);
    *n_failed = run.n_failed;
    return st == SA2_OK ? st : sa2_wrap(err, st, "%s", sa2_golden_name(golden));
}

void sa2_check_judge(sa2_check_run *run, const char *name, sa2_dtype dtype, sa2_tensor found)
{
    sa2_golden_result result;
    sa2_golden_compare(run->golden, name, dtype, found, &result);
    run->n_failed += !result.ok;
    run->report(run->user, &result);
}

sa2_status sa2_check_judge_device(sa2_check_run *run, const char *name, sa2_dtype dtype,
                                  sa2_stream *s, sa2_tensor found, sa2_error *err)
{
    sa2_tensor host = found;
    host.data = malloc(sa2_tensor_bytes(&found) + 1);
    if (host.data == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory for out.%s", name);
    sa2_download(s, host.data, found);
    sa2_status st = sa2_stream_finish(s, err);
    if (st == SA2_OK)
        sa2_check_judge(run, name, dtype, host);
    free(host.data);
    return st;
}

/* ---- devices ---- */

sa2_status sa2_check_device_open(sa2_check_device *device, const sa2_check_run *run,
                                 size_t scratch_bytes, sa2_error *err)
{
    *device = (sa2_check_device){.backend = run->context->backend};
    return sa2_stream_create(&device->stream, device->backend, scratch_bytes, err);
}

sa2_status sa2_check_device_reserve(sa2_check_device *device, size_t bytes, sa2_error *err)
{
    return sa2_backend_arena_create(device->backend, &device->arena, bytes, err);
}

void sa2_check_device_close(sa2_check_device *device)
{
    if (device->backend != NULL)
        sa2_backend_arena_destroy(device->backend, &device->arena);
    sa2_stream_destroy(device->stream);
    *device = (sa2_check_device){0};
}
