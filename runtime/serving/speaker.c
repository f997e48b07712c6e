#include "runtime/serving/speaker.h"

void sa2_speaker_add(sa2_speaker *speaker, sa2_utterance *utterance)
{
    sa2_utterance **end = &speaker->first;
    while (*end != NULL)
        end = &(*end)->next;
    utterance->listed = true;
    utterance->next = NULL;
    *end = utterance;
}

void sa2_speaker_remove(sa2_speaker *speaker, sa2_utterance *utterance)
{
    if (!utterance->listed)
        return;
    sa2_utterance **link = &speaker->first;
    while (*link != utterance)
        link = &(*link)->next;
    *link = utterance->next;
    utterance->listed = false;
    for (int i = 0; i < speaker->n_asked; i++)
        if (speaker->asked[i] == utterance)
            speaker->asked[i] = NULL;
    sa2_speech_drop(speaker->token2wav, &utterance->speech);
}

/* Whether it has a stream, or one is free for it. */
static bool can_go_on(const sa2_speaker *speaker, const sa2_utterance *u)
{
    return sa2_speech_ready(speaker->token2wav, &u->speech) &&
           (u->speech.slot >= 0 || sa2_speech_can_start(speaker->token2wav));
}

bool sa2_speaker_ready(const sa2_speaker *speaker)
{
    for (const sa2_utterance *u = speaker->first; u != NULL && !sa2_speaker_busy(speaker);
         u = u->next)
        if (can_go_on(speaker, u))
            return true;
    return false;
}

bool sa2_speaker_busy(const sa2_speaker *speaker)
{
    return speaker->n_asked > 0;
}

bool sa2_speaker_done(const sa2_speaker *speaker)
{
    return sa2_speaker_busy(speaker) && sa2_speech_chunks_done(speaker->token2wav);
}

/* Whoever took part has lost his place in the sound. */
static void lose(sa2_speaker *speaker)
{
    for (int i = 0; i < speaker->n_asked; i++)
        if (speaker->asked[i] != NULL)
            speaker->asked[i]->lost = true;
}

sa2_status sa2_speaker_begin(sa2_speaker *speaker, sa2_error *err)
{
    sa2_token2wav *t = speaker->token2wav;
    sa2_speech *speeches[SA2_VOCODER_SOUNDS];
    sa2_status st = SA2_OK;
    speaker->n_asked = 0;
    for (sa2_utterance *u = speaker->first; u != NULL && st == SA2_OK; u = u->next) {
        if (!can_go_on(speaker, u))
            continue;
        speeches[speaker->n_asked] = &u->speech;
        speaker->asked[speaker->n_asked++] = u;
        if (u->speech.slot < 0)
            st = sa2_speech_start(t, &u->speech, u->seed, err);
    }
    int n_chunks = 0;
    if (st == SA2_OK)
        st = sa2_speech_begin_chunks(t, speeches, speaker->n_asked, &n_chunks, err);
    if (st != SA2_OK)
        lose(speaker);
    if (st != SA2_OK || n_chunks == 0)
        speaker->n_asked = 0;
    return st;
}

typedef struct listener {
    sa2_speaker *speaker;
    sa2_speaker_sink sink;
    void *context;
} listener;

static void pass_on(void *context, int i, const float *samples, int64_t n)
{
    const listener *l = context;
    if (l->sink != NULL)
        l->sink(l->context, l->speaker->asked[i], samples, n);
}

sa2_status sa2_speaker_end(sa2_speaker *speaker, sa2_speaker_sink sink, void *context,
                           sa2_error *err)
{
    listener l = {.speaker = speaker, .sink = sink, .context = context};
    sa2_status st = sa2_speech_end_chunks(speaker->token2wav, pass_on, &l, err);
    if (st != SA2_OK)
        lose(speaker);
    speaker->n_asked = 0;
    return st;
}
