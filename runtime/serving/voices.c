#include "runtime/serving/voices.h"

#include <stdio.h>
#include <string.h>

sa2_status sa2_voices_open(sa2_voices *v, int max, sa2_error *err)
{
    *v = (sa2_voices){.max = max};
    v->open = pthread_mutex_init(&v->lock, NULL) == 0;
    return v->open ? SA2_OK : sa2_fail(err, SA2_ERR_NOMEM, "voices: no lock");
}

void sa2_voices_close(sa2_voices *v)
{
    for (int i = 0; i < v->max; i++)
        sa2_speech_voice_destroy(&v->voices[i].speech);
    if (v->open)
        pthread_mutex_destroy(&v->lock);
    *v = (sa2_voices){0};
}

/* Under the lock; name "" finds a free place. */
static sa2_named_voice *find(sa2_voices *v, const char *name)
{
    for (int i = 0; i < v->max; i++)
        if (strcmp(v->voices[i].name, name) == 0)
            return &v->voices[i];
    return NULL;
}

static sa2_status fail_unknown(const sa2_voices *v, const char *name, sa2_error *err)
{
    char names[256] = "";
    size_t used = 0;
    for (int i = 0; i < v->max && used < sizeof names; i++)
        if (v->voices[i].name[0] != '\0')
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                     used > 0 ? ", " : "", v->voices[i].name);
    return sa2_fail(err, SA2_ERR_ARG, "voice: no \"%s\" here; there are: %s", name,
                    used > 0 ? names : "none");
}

static sa2_status judge_name(sa2_voices *v, const char *name, sa2_error *err)
{
    size_t n = strlen(name);
    if (n == 0 || n > SA2_VOICE_NAME_BYTES)
        return sa2_fail(err, SA2_ERR_ARG, "voice: a name of 1 to %d bytes expected, found %zu",
                        SA2_VOICE_NAME_BYTES, n);
    pthread_mutex_lock(&v->lock);
    bool there = find(v, name) != NULL, room = find(v, "") != NULL;
    pthread_mutex_unlock(&v->lock);
    if (there)
        return sa2_fail(err, SA2_ERR_ARG, "voice: \"%s\" is there already", name);
    return room ? SA2_OK
                : sa2_fail(err, SA2_ERR_LIMIT, "voice: \"%s\" is one too many, there are %d", name,
                           v->max);
}

sa2_status sa2_voices_add(sa2_voices *v, sa2_token2wav *t, const char *name, const sa2_voice *voice,
                          sa2_error *err)
{
    sa2_speech_voice speech;
    sa2_status st = judge_name(v, name, err);
    if (st == SA2_OK)
        st = sa2_speech_voice_init(t, &speech, voice, err);
    if (st != SA2_OK)
        return st;
    pthread_mutex_lock(&v->lock);
    sa2_named_voice *place = find(v, ""); /* nobody else adds */
    *place = (sa2_named_voice){.speech = speech};
    snprintf(place->name, sizeof place->name, "%s", name);
    pthread_mutex_unlock(&v->lock);
    return SA2_OK;
}

sa2_status sa2_voices_remove(sa2_voices *v, const char *name, sa2_error *err)
{
    sa2_status st = SA2_OK;
    pthread_mutex_lock(&v->lock);
    sa2_named_voice *found = name[0] != '\0' ? find(v, name) : NULL;
    if (found == NULL)
        st = fail_unknown(v, name, err);
    else if (found->n_users > 0)
        st = sa2_fail(err, SA2_ERR_ARG, "voice: %d requests speak in \"%s\"", found->n_users, name);
    else {
        sa2_speech_voice_destroy(&found->speech);
        *found = (sa2_named_voice){0};
    }
    pthread_mutex_unlock(&v->lock);
    return st;
}

sa2_status sa2_voices_take(sa2_voices *v, const char *name, const sa2_speech_voice **taken,
                           sa2_error *err)
{
    sa2_status st = SA2_OK;
    pthread_mutex_lock(&v->lock);
    sa2_named_voice *found = name[0] != '\0' ? find(v, name) : NULL;
    if (found == NULL) {
        st = fail_unknown(v, name, err);
    } else {
        found->n_users++;
        *taken = &found->speech;
    }
    pthread_mutex_unlock(&v->lock);
    return st;
}

void sa2_voices_give(sa2_voices *v, const sa2_speech_voice *taken)
{
    if (taken == NULL)
        return;
    pthread_mutex_lock(&v->lock);
    for (int i = 0; i < v->max; i++)
        if (&v->voices[i].speech == taken)
            v->voices[i].n_users--;
    pthread_mutex_unlock(&v->lock);
}
