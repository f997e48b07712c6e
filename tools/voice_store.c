#include "tools/voice_store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/limits.h"
#include "loader/mapped_file.h"
#include "loader/output_file.h"
#include "runtime/token2wav/token2wav_files.h"

/* ---- paths ---- */

static sa2_status default_folder(char *out, size_t room, sa2_error *err)
{
    const char *own = getenv("SA2_VOICES"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n = 0;
    if (own != NULL && own[0] != '\0')
        n = snprintf(out, room, "%s", own);
    else if (data != NULL && data[0] == '/')
        n = snprintf(out, room, "%s/sa2/voices", data);
    else if (home != NULL && home[0] != '\0')
        n = snprintf(out, room, "%s/.local/share/sa2/voices", home);
    if (n > 0 && n < (int)room)
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_ARG,
                    "voices: no folder: $SA2_VOICES, $XDG_DATA_HOME and $HOME are not set, or too "
                    "long");
}

sa2_status sa2_voice_store_open(sa2_voice_store *store, const char *folder, sa2_error *err)
{
    *store = (sa2_voice_store){0};
    if (folder == NULL) {
        sa2_status st = default_folder(store->folder, sizeof store->folder, err);
        if (st != SA2_OK)
            return st;
    } else {
        int n = snprintf(store->folder, sizeof store->folder, "%s", folder);
        if (n < 1 || n >= (int)sizeof store->folder)
            return sa2_fail(err, SA2_ERR_ARG, "voices: a folder of 1 to %zu bytes expected",
                            sizeof store->folder - 1);
    }
    snprintf(store->encoded, sizeof store->encoded, "%s/encoded", store->folder);
    return SA2_OK;
}

/* The folder with all that lead to it. */
static sa2_status make_folder(const char *folder, sa2_error *err)
{
    char path[SA2_STORE_PATH];
    snprintf(path, sizeof path, "%s", folder);
    for (char *at = path + 1;; at++) {
        char end = *at;
        if (end != '/' && end != '\0')
            continue;
        *at = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return sa2_fail(err, SA2_ERR_IO, "voices %s: %s", path, strerror(errno));
        if (end == '\0')
            return SA2_OK;
        *at = end;
    }
}

/* ---- names ---- */

static bool is_name(const char *text, size_t n)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    return n > 0 && n <= SA2_STORE_NAME && strspn(text, allowed) >= n;
}

sa2_status sa2_voice_store_judge_name(const char *name, sa2_error *err)
{
    if (is_name(name, strlen(name)))
        return SA2_OK;
    return sa2_fail(err, SA2_ERR_ARG,
                    "voice: a name of 1 to %d letters, digits, \"-\" and \"_\" expected, found "
                    "\"%.80s\"",
                    SA2_STORE_NAME, name);
}

/* Bytes of the voice's name in a file name of the folder; 0: it is no voice. */
static size_t name_bytes(const char *file)
{
    const char *dot = strchr(file, '.');
    size_t n = dot != NULL ? (size_t)(dot - file) : 0;
    bool partial = strstr(file, ".partial") != NULL;
    return is_name(file, n) && !partial ? n : 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

sa2_status sa2_voice_store_list(const sa2_voice_store *store, char ***names, size_t *n,
                                sa2_error *err)
{
    *names = NULL;
    *n = 0;
    DIR *folder = opendir(store->folder);
    if (folder == NULL && errno == ENOENT)
        return SA2_OK;
    if (folder == NULL)
        return sa2_fail(err, SA2_ERR_IO, "voices %s: %s", store->folder, strerror(errno));
    char **list = calloc(SA2_STORE_VOICES, sizeof *list);
    bool full = list == NULL;
    for (struct dirent *entry; !full && (entry = readdir(folder)) != NULL;) {
        size_t bytes = name_bytes(entry->d_name);
        if (bytes == 0)
            continue;
        full = *n == SA2_STORE_VOICES || (list[*n] = strndup(entry->d_name, bytes)) == NULL;
        *n += !full;
    }
    closedir(folder);
    if (full) {
        sa2_voice_store_free_list(list, *n);
        *n = 0;
        return sa2_fail(err, SA2_ERR_NOMEM, "voices %s: more than %d, or no memory for them",
                        store->folder, SA2_STORE_VOICES);
    }
    qsort(list, *n, sizeof *list, by_name);
    *names = list;
    return SA2_OK;
}

void sa2_voice_store_free_list(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

/* ---- recordings ---- */

/* The recording of a name in the folder; false: there is none. */
static bool find_recording(const sa2_voice_store *store, const char *name,
                           char path[SA2_STORE_PATH])
{
    DIR *folder = is_name(name, strlen(name)) ? opendir(store->folder) : NULL;
    bool found = false;
    if (folder == NULL)
        return false;
    for (struct dirent *entry; !found && (entry = readdir(folder)) != NULL;) {
        size_t n = name_bytes(entry->d_name);
        found =
            n == strlen(name) && strncmp(entry->d_name, name, n) == 0 &&
            snprintf(path, SA2_STORE_PATH, "%s/%s", store->folder, entry->d_name) < SA2_STORE_PATH;
    }
    closedir(folder);
    return found;
}

static sa2_status fail_unknown(const sa2_voice_store *store, const char *name, sa2_error *err)
{
    char **names, all[300] = "";
    size_t n, used = 0;
    sa2_status st = sa2_voice_store_list(store, &names, &n, err);
    if (st != SA2_OK)
        return st;
    for (size_t i = 0; i < n && used < sizeof all; i++)
        used +=
            (size_t)snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? ", " : "", names[i]);
    sa2_voice_store_free_list(names, n);
    return sa2_fail(err, SA2_ERR_IO,
                    "voice \"%.80s\": neither a file nor a name in %s, which has: %s", name,
                    store->folder, used > 0 ? all : "none");
}

static bool find_asset(const char *model, const char *name, char path[SA2_STORE_PATH])
{
    if (model == NULL || !is_name(name, strlen(name)))
        return false;
    int n = snprintf(path, SA2_STORE_PATH, "%s/assets/%s.wav", model, name);
    return n < SA2_STORE_PATH && access(path, F_OK) == 0;
}

sa2_status sa2_voice_store_find(const sa2_voice_store *store, const char *model, const char *name,
                                char path[SA2_STORE_PATH], sa2_error *err)
{
    if (find_recording(store, name, path) || find_asset(model, name, path))
        return SA2_OK;
    if (access(name, F_OK) != 0)
        return fail_unknown(store, name, err);
    int n = snprintf(path, SA2_STORE_PATH, "%s", name);
    return n < SA2_STORE_PATH ? SA2_OK : sa2_fail(err, SA2_ERR_ARG, "voice: a path of %d bytes", n);
}

/* How the file of a recording ends; ".wav" where it does not say. */
static const char *ending_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    bool has = dot != NULL && (slash == NULL || dot > slash) && is_name(dot + 1, strlen(dot + 1));
    return has ? dot : ".wav";
}

sa2_status sa2_voice_store_add(const sa2_voice_store *store, const char *name, const char *path,
                               bool replace, sa2_error *err)
{
    char old[SA2_STORE_PATH], to[SA2_STORE_PATH];
    sa2_status st = sa2_voice_store_judge_name(name, err);
    bool there = st == SA2_OK && find_recording(store, name, old);
    if (there && !replace)
        st = sa2_fail(err, SA2_ERR_ARG, "voice \"%s\": there already, %s", name, old);
    if (st == SA2_OK)
        st = make_folder(store->folder, err);
    if (st != SA2_OK)
        return st;
    sa2_mapped_file file;
    snprintf(to, sizeof to, "%s/%s%s", store->folder, name, ending_of(path));
    st = sa2_mapped_file_open(&file, path, err);
    if (st != SA2_OK)
        return st;
    st = sa2_write_whole_file(to, file.data, file.bytes, err);
    sa2_mapped_file_close(&file);
    if (st == SA2_OK && there && strcmp(old, to) != 0 && unlink(old) != 0)
        st = sa2_fail(err, SA2_ERR_IO, "%s: %s", old, strerror(errno));
    return st;
}

/* ---- voices of a model ---- */

static sa2_status copy_voice(sa2_voice *to, const sa2_voice *from, sa2_error *err)
{
    sa2_status st =
        sa2_voice_create(to, from->n_tokens, from->n_speaker, from->n_frames, from->mel_bins, err);
    if (st != SA2_OK)
        return st;
    memcpy(to->tokens, from->tokens, (size_t)from->n_tokens * sizeof *to->tokens);
    memcpy(to->speaker, from->speaker, (size_t)from->n_speaker * sizeof *to->speaker);
    memcpy(to->mel, from->mel, (size_t)from->n_frames * (size_t)from->mel_bins * sizeof *to->mel);
    return SA2_OK;
}

static sa2_status open_encoder(sa2_voice_encoder *encoder, sa2_backend *backend,
                               const sa2_voice_wish *wish, sa2_error *err)
{
    char place[SA2_STORE_PATH];
    sa2_flow_config flow = {0};
    sa2_status st = sa2_token2wav_look(&flow, place, sizeof place, wish->model, err);
    const sa2_voice_options options = {.mel_bins = flow.mel,
                                       .frames_per_token = flow.up_stride,
                                       .least_tokens = flow.lookahead,
                                       .max_seconds = SA2_LIMIT_VOICE_SECONDS,
                                       .partial = wish->partial};
    return st == SA2_OK ? sa2_voice_encoder_open(encoder, backend, place, &options, err) : st;
}

static sa2_status get_voice(sa2_voice *voice, sa2_voice_encoder *encoder, const char *encoded,
                            const char *path, sa2_voice_report *report, sa2_error *err)
{
    sa2_voice_cache *cache = NULL;
    const sa2_voice *kept = NULL;
    const sa2_audio_source source = {.path = path};
    sa2_status st = sa2_voice_cache_create(&cache, encoder, encoded, 1, err);
    if (st == SA2_OK)
        st = sa2_voice_cache_get(cache, &source, &kept, report, err);
    if (st == SA2_OK)
        st = copy_voice(voice, kept, err);
    if (kept != NULL)
        sa2_voice_cache_release(cache, kept);
    sa2_voice_cache_destroy(cache);
    return st;
}

sa2_status sa2_voice_of_model(sa2_voice *voice, const sa2_voice_wish *wish,
                              sa2_voice_report *report, sa2_error *err)
{
    *voice = (sa2_voice){0};
    sa2_voice_store store;
    sa2_voice_encoder encoder = {0};
    sa2_backend *backend = NULL;
    sa2_error none = {0};
    char path[SA2_STORE_PATH];
    sa2_status st = sa2_voice_store_open(&store, wish->store, err);
    if (st == SA2_OK)
        st = sa2_voice_store_find(&store, wish->model, wish->voice, path, err);
    if (st == SA2_OK)
        st = sa2_backend_open(&backend, wish->device, err);
    if (st == SA2_OK)
        st = open_encoder(&encoder, backend, wish, err);
    bool keep = st == SA2_OK && make_folder(store.folder, &none) == SA2_OK;
    if (st == SA2_OK)
        st = get_voice(voice, &encoder, keep ? store.encoded : NULL, path, report, err);
    if (st == SA2_OK && !keep && report != NULL)
        snprintf(report->note, sizeof report->note, "not kept: %.400s", none.message);
    sa2_voice_encoder_close(&encoder);
    sa2_backend_close(backend);
    return st;
}
