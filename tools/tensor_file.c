#include "tools/tensor_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/safetensors.h"

bool sa2_is_tensor_file(const char *path)
{
    static const char ending[] = ".safetensors";
    size_t n = strlen(path);
    return n >= sizeof ending && strcmp(path + n - (sizeof ending - 1), ending) == 0;
}

/* Neither has values here, without which a tensor counts as absent. */
static sa2_status refuse_shape(const char *path, const char *name, sa2_tensor expected,
                               sa2_tensor found, sa2_error *err)
{
    char text[2][128];
    expected.data = found.data = text;
    return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s: %s expected (-1: any), %s found", path, name,
                    sa2_tensor_describe(&expected, text[0], sizeof text[0]),
                    sa2_tensor_describe(&found, text[1], sizeof text[1]));
}

static bool fits(const sa2_tensor *expected, const sa2_tensor *found)
{
    bool same = expected->dtype == found->dtype && expected->ndim == found->ndim;
    for (int d = 0; same && d < expected->ndim; d++)
        same = found->shape[d] > 0 &&
               (expected->shape[d] < 0 || expected->shape[d] == found->shape[d]);
    return same;
}

static sa2_status judge_values(const char *path, const char *name, const sa2_tensor *t,
                               const void *values, sa2_error *err)
{
    if (t->dtype != SA2_F32)
        return SA2_OK;
    int64_t n = sa2_tensor_count(t);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(((const float *)values)[i]))
            return sa2_fail(err, SA2_ERR_FORMAT, "%s: %s: element %lld is no number", path, name,
                            (long long)i);
    return SA2_OK;
}

static sa2_status read_entry(const sa2_tensor_map *map, const char *path, const char *name,
                             sa2_tensor *tensor, void **values, sa2_error *err)
{
    char input[128];
    snprintf(input, sizeof input, "in.%s", name);
    const sa2_tensor_entry *entry = sa2_tensor_map_find(map, name);
    if (entry == NULL)
        entry = sa2_tensor_map_find(map, input);
    if (entry == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: tensor %s expected, not there", path, name);
    if (!fits(tensor, &entry->tensor))
        return refuse_shape(path, name, *tensor, entry->tensor, err);
    *tensor = entry->tensor;
    tensor->data = NULL;
    *values = malloc(sa2_tensor_bytes(tensor));
    if (*values == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %s", path, name);
    sa2_status st = sa2_tensor_map_read(map, entry, 0, sa2_tensor_count(tensor), *values, err);
    return st == SA2_OK ? judge_values(path, name, tensor, *values, err) : st;
}

sa2_status sa2_tensor_file_read(const char *path, const char *name, sa2_tensor *tensor,
                                void **values, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    *values = NULL;
    sa2_status st = sa2_safetensors_open(&map, path, err);
    if (st == SA2_OK)
        st = read_entry(map, path, name, tensor, values, err);
    sa2_tensor_map_destroy(map);
    if (st != SA2_OK) {
        free(*values);
        *values = NULL;
    }
    return st;
}

sa2_status sa2_tensor_file_voice(const char *path, int frames_per_token, sa2_voice *voice,
                                 sa2_error *err)
{
    void *tokens = NULL, *mel = NULL, *speaker = NULL;
    sa2_tensor token_form = sa2_tensor_1d(NULL, SA2_I32, -1),
               speaker_form = sa2_tensor_1d(NULL, SA2_F32, -1),
               mel_form = sa2_tensor_2d(NULL, SA2_F32, -1, -1);
    sa2_status st = sa2_tensor_file_read(path, "prompt_tokens", &token_form, &tokens, err);
    if (st == SA2_OK) {
        mel_form.shape[0] = token_form.shape[0] * frames_per_token;
        st = sa2_tensor_file_read(path, "prompt_mel", &mel_form, &mel, err);
    }
    if (st == SA2_OK)
        st = sa2_tensor_file_read(path, "xvec", &speaker_form, &speaker, err);
    if (st == SA2_OK)
        st = sa2_voice_create(voice, (int)token_form.shape[0], (int)speaker_form.shape[0],
                              (int)mel_form.shape[0], (int)mel_form.shape[1], err);
    if (st == SA2_OK) {
        memcpy(voice->tokens, tokens, sa2_tensor_bytes(&token_form));
        memcpy(voice->speaker, speaker, sa2_tensor_bytes(&speaker_form));
        memcpy(voice->mel, mel, sa2_tensor_bytes(&mel_form));
    }
    free(speaker);
    free(mel);
    free(tokens);
    return st;
}
