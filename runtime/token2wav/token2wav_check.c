#include "runtime/token2wav/token2wav_check.h"

#include "runtime/token2wav/token2wav_files.h"

/* The dimensions of a part from its shapes; those of the flow are in flow.yaml. */
static sa2_status find_dims(sa2_token2wav_dims *dims, sa2_token2wav_file file,
                            const sa2_tensor_map *map, sa2_error *err)
{
    switch (file) {
    case SA2_VOCODER_FILE:
        return sa2_vocoder_dims_find(&dims->vocoder, map, err);
    case SA2_SPEAKER_FILE:
        return sa2_speaker_dims_find(&dims->speaker, map, err);
    case SA2_SPEECH_TOKENIZER_FILE:
        return sa2_speech_tokenizer_dims_find(&dims->speech_tokenizer, map, err);
    case SA2_FLOW_FILE:
    case SA2_TOKEN2WAV_FILES:
        break;
    }
    return SA2_OK;
}

static sa2_status list_tensors(sa2_tensor_list *list, const sa2_token2wav_dims *dims,
                               sa2_token2wav_file file, sa2_error *err)
{
    switch (file) {
    case SA2_FLOW_FILE:
        return sa2_flow_tensors(list, &dims->flow, err);
    case SA2_VOCODER_FILE:
        return sa2_vocoder_tensors(list, &dims->vocoder, err);
    case SA2_SPEAKER_FILE:
        return sa2_speaker_tensors(list, &dims->speaker, err);
    case SA2_SPEECH_TOKENIZER_FILE:
        return sa2_speech_tokenizer_tensors(list, &dims->speech_tokenizer, err);
    case SA2_TOKEN2WAV_FILES:
        break;
    }
    return SA2_OK;
}

static void measure(sa2_token2wav_size *size, const sa2_tensor_map *map)
{
    *size = (sa2_token2wav_size){.tensors = sa2_tensor_map_count(map)};
    for (int i = 0; i < sa2_tensor_map_count(map); i++) {
        const sa2_tensor *tensor = &sa2_tensor_map_entry(map, i)->tensor;
        size->parameters += sa2_tensor_count(tensor);
        size->bytes += (int64_t)sa2_tensor_bytes(tensor);
    }
}

/* `judged`: flow.yaml could be read, so that a flow can be compared with it. */
static sa2_status check_file(sa2_token2wav_summary *s, const sa2_token2wav_files *files,
                             sa2_token2wav_file file, bool judged, sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    sa2_tensor_list list = {0};
    sa2_status st = sa2_token2wav_files_map(files, &map, file, err);
    bool opened = st == SA2_OK;
    if (st == SA2_OK)
        st = find_dims(&s->dims, file, map, err);
    if (st == SA2_OK && (judged || file != SA2_FLOW_FILE)) {
        st = list_tensors(&list, &s->dims, file, err);
        if (st == SA2_OK)
            st = sa2_tensor_map_check(map, &list, err);
    }
    if (st == SA2_OK)
        measure(&s->sizes[file], map);
    sa2_tensor_list_destroy(&list);
    sa2_tensor_map_destroy(map);
    return opened && st != SA2_OK ? sa2_wrap(err, st, "%s", sa2_token2wav_file_name(file)) : st;
}

static sa2_status check_together(const sa2_token2wav_dims *d, sa2_error *err)
{
    if (d->vocoder.mel != d->flow.mel)
        return sa2_fail_also(err, SA2_ERR_FORMAT,
                             "token2wav: the flow makes %d mel bins, the vocoder takes %d",
                             d->flow.mel, d->vocoder.mel);
    if (d->speaker.embedding != d->flow.speaker)
        return sa2_fail_also(
            err, SA2_ERR_FORMAT,
            "token2wav: the flow takes a speaker vector of %d, campplus.onnx gives %d",
            d->flow.speaker, d->speaker.embedding);
    return SA2_OK;
}

sa2_status sa2_token2wav_check(sa2_token2wav_summary *s, const char *folder, sa2_error *err)
{
    sa2_token2wav_files files;
    *s = (sa2_token2wav_summary){0};
    sa2_status st = sa2_token2wav_files_open(&files, folder, err);
    if (st != SA2_OK)
        return st;
    st = sa2_token2wav_files_config(&files, &s->dims.flow, err);
    bool judged = st == SA2_OK;
    for (int file = 0; file < SA2_TOKEN2WAV_FILES; file++) {
        sa2_error part = {0};
        sa2_status found = check_file(s, &files, (sa2_token2wav_file)file, judged, &part);
        if (found != SA2_OK)
            st = sa2_fail_merge(err, st == SA2_OK ? found : st, &part);
    }
    sa2_token2wav_files_close(&files);
    return st == SA2_OK ? check_together(&s->dims, err) : st;
}
