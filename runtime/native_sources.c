#include "runtime/native_sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "loader/mapped_file.h"
#include "loader/token2wav_reader.h"
#include "loader/vocab_file.h"

enum { PATH_BYTES = 4096, MAX_SOURCES = 10240 };

/* ---- which ---- */

static sa2_status add(sa2_native_sources *s, const char *path, sa2_error *err)
{
    struct stat info;
    if (s->n > 0 && strcmp(s->paths[s->n - 1], path) == 0)
        return SA2_OK; /* tensors come file by file */
    if (s->n == MAX_SOURCES)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: more than %d files", s->folder, MAX_SOURCES);
    char *copy = malloc(strlen(path) + 1);
    if (copy == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", path);
    strcpy(copy, path);
    s->paths[s->n++] = copy;
    s->bytes += stat(path, &info) == 0 ? (int64_t)info.st_size : 0;
    return SA2_OK;
}

static sa2_status add_inside(sa2_native_sources *s, const char *name, sa2_error *err)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", s->folder, name);
    if (n < 0 || n >= (int)sizeof path)
        return sa2_fail(err, SA2_ERR_IO, "%.200s...: the path is too long", s->folder);
    return access(path, F_OK) == 0 ? add(s, path, err) : SA2_OK;
}

/* Shards that an index names are named as there, a file that stands alone by its path. */
static sa2_status add_shard(sa2_native_sources *s, const char *origin, sa2_error *err)
{
    bool path = strncmp(origin, s->folder, strlen(s->folder)) == 0;
    return path ? add(s, origin, err) : add_inside(s, origin, err);
}

static sa2_status find_all(sa2_native_sources *s, const sa2_tensor_map *map, sa2_error *err)
{
    char token2wav[PATH_BYTES], path[PATH_BYTES];
    sa2_status st = add_inside(s, "config.json", err);
    for (int i = 0; st == SA2_OK && i < SA2_VOCAB_FILES; i++)
        st = add_inside(s, sa2_vocab_file_names[i], err);
    for (int i = 0; st == SA2_OK && i < sa2_tensor_map_count(map); i++)
        st = add_shard(s, sa2_tensor_map_entry(map, i)->origin, err);
    snprintf(token2wav, sizeof token2wav, "%s/token2wav", s->folder);
    s->speaks = access(token2wav, F_OK) == 0;
    if (st == SA2_OK && s->speaks)
        st = add_inside(s, "token2wav/flow.yaml", err);
    for (int i = 0; st == SA2_OK && s->speaks && i < SA2_TOKEN2WAV_FILES; i++) {
        st = sa2_token2wav_find(path, sizeof path, token2wav, (sa2_token2wav_file)i, err);
        if (st == SA2_OK)
            st = add(s, path, err);
    }
    return st;
}

sa2_status sa2_native_sources_find(sa2_native_sources *s, const char *folder,
                                   const sa2_tensor_map *map, sa2_error *err)
{
    *s = (sa2_native_sources){.folder = folder};
    s->paths = calloc(MAX_SOURCES, sizeof *s->paths);
    s->found = calloc(MAX_SOURCES, sizeof *s->found);
    sa2_status st = s->paths != NULL && s->found != NULL
                        ? find_all(s, map, err)
                        : sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", folder);
    if (st != SA2_OK)
        sa2_native_sources_close(s);
    return st;
}

/* ---- reading ---- */

/* Its name below the folder. */
static const char *name_below(const sa2_native_sources *s, const char *path)
{
    size_t n = strlen(s->folder);
    const char *name = strncmp(path, s->folder, n) == 0 ? path + n : path;
    while (*name == '/')
        name++;
    return name;
}

static sa2_status hash_file(sa2_native_sources *s, int i, XXH3_state_t *state)
{
    enum { PIECE = 8 << 20, AHEAD = 64 << 20 };
    sa2_mapped_file file;
    sa2_status st = sa2_mapped_file_open(&file, s->paths[i], &s->error);
    if (st != SA2_OK)
        return st;
    XXH3_64bits_reset(state);
    size_t asked = 0;
    for (size_t at = 0; at < file.bytes && !atomic_load(&s->stop); at += PIECE) {
        size_t n = file.bytes - at < PIECE ? file.bytes - at : PIECE;
        for (; asked < file.bytes && asked < at + AHEAD; asked += PIECE)
            sa2_mapped_advise(file.data + asked,
                              file.bytes - asked < PIECE ? file.bytes - asked : PIECE,
                              SA2_MAPPED_SOON);
        XXH3_64bits_update(state, file.data + at, n);
        sa2_mapped_advise(file.data + at, n, SA2_MAPPED_DONE);
    }
    s->found[i] = (sa2_pack_source){
        .name = name_below(s, s->paths[i]), .bytes = file.bytes, .hash = XXH3_64bits_digest(state)};
    sa2_mapped_file_close(&file);
    return SA2_OK;
}

static void *hash_all(void *argument)
{
    sa2_native_sources *s = argument;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL)
        s->status = sa2_fail(&s->error, SA2_ERR_NOMEM, "%s: no memory", s->folder);
    for (int i = 0; s->status == SA2_OK && i < s->n && !atomic_load(&s->stop); i++)
        s->status = hash_file(s, i, state);
    XXH3_freeState(state);
    return NULL;
}

sa2_status sa2_native_sources_start(sa2_native_sources *s, sa2_error *err)
{
    atomic_init(&s->stop, false);
    s->has_thread = pthread_create(&s->thread, NULL, hash_all, s) == 0;
    return s->has_thread ? SA2_OK : sa2_fail(err, SA2_ERR_NOMEM, "%s: no thread", s->folder);
}

static void join(sa2_native_sources *s)
{
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    s->has_thread = false;
}

sa2_status sa2_native_sources_finish(sa2_native_sources *s, sa2_pack_writer *writer, sa2_error *err)
{
    join(s);
    sa2_status st = s->status;
    if (st != SA2_OK && err != NULL)
        *err = s->error;
    for (int i = 0; st == SA2_OK && i < s->n; i++)
        st = sa2_pack_writer_source(writer, &s->found[i], err);
    return st;
}

void sa2_native_sources_close(sa2_native_sources *s)
{
    atomic_store(&s->stop, true);
    join(s);
    for (int i = 0; i < s->n; i++)
        free(s->paths[i]);
    free(s->paths);
    free(s->found);
    s->paths = NULL;
    s->found = NULL;
    s->n = 0;
}
