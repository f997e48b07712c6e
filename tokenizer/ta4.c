#include "tokenizer/ta4.h"

/* The ids of <audio_N><audio_N>..., and nothing else. */
static sa2_status encode_codes(sa2_encoder *encoder, const sa2_special *special,
                               const char *tts_audio, size_t n, sa2_ids *codes, sa2_error *err)
{
    sa2_status st = sa2_encode(encoder, tts_audio, n, (sa2_span){0}, codes, err);
    for (size_t i = 0; i < codes->n && st == SA2_OK; i++) {
        int32_t id = codes->data[i];
        if (!sa2_special_is_speech(special, id) && id != special->speech_pad)
            st = sa2_fail(
                err, SA2_ERR_FORMAT,
                "tts_audio: <audio_0> to <audio_%d> expected, other text after %zu of them",
                SA2_SPEECH_CODES, i);
    }
    return st;
}

static void interleave(const sa2_special *special, const sa2_ids *text, const sa2_ids *codes,
                       bool short_tail, sa2_ids *ids)
{
    size_t groups = (codes->n + SA2_TA4_CODES - 1) / SA2_TA4_CODES;
    if (groups < text->n)
        groups = text->n;
    size_t padded = SA2_TA4_CODES * groups;
    if (short_tail)
        padded = codes->n > groups ? codes->n : groups;
    sa2_ids_append(ids, special->tts_start);
    for (size_t g = 0; g < groups; g++) {
        sa2_ids_append(ids, g < text->n ? text->data[g] : special->tts_pad);
        size_t end = SA2_TA4_CODES * (g + 1);
        for (size_t i = SA2_TA4_CODES * g; i < end && i < padded; i++)
            sa2_ids_append(ids, i < codes->n ? codes->data[i] : special->speech_pad);
    }
    sa2_ids_append(ids, special->tts_end);
}

sa2_status sa2_ta4_history(sa2_encoder *encoder, const sa2_special *special, const char *tts_text,
                           size_t n_tts_text, const char *tts_audio, size_t n_tts_audio,
                           bool short_tail, sa2_ids *ids, sa2_error *err)
{
    sa2_ids text = {0};
    sa2_ids codes = {0};
    sa2_status st = sa2_encode(encoder, tts_text, n_tts_text, (sa2_span){0}, &text, err);
    if (st == SA2_OK)
        st = encode_codes(encoder, special, tts_audio, n_tts_audio, &codes, err);
    if (st == SA2_OK) {
        interleave(special, &text, &codes, short_tail, ids);
        st = sa2_ids_status(ids, err);
    }
    sa2_ids_free(&text);
    sa2_ids_free(&codes);
    return st;
}

void sa2_ta4_splitter_init(sa2_ta4_splitter *splitter, bool spoken)
{
    splitter->speaking = spoken;
}

sa2_ta4_kind sa2_ta4_split(sa2_ta4_splitter *splitter, const sa2_special *special, int32_t id)
{
    if (sa2_special_is_stop(special, id))
        return SA2_TA4_NOTHING;
    if (!splitter->speaking)
        return SA2_TA4_OTHER;
    if (id == special->tts_end)
        splitter->speaking = false;
    if (id == special->tts_start || id == special->tts_end || id == special->tts_pad ||
        id == special->speech_pad)
        return SA2_TA4_NOTHING;
    return sa2_special_is_speech(special, id) ? SA2_TA4_CODE : SA2_TA4_TEXT;
}
