/* native_unpack.c - a native file to a folder of safetensors files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/output_file.h"
#include "loader/output_folder.h"
#include "loader/shard_writer.h"
#include "loader/token2wav_reader.h"
#include "runtime/native_progress.h"
#include "runtime/pack_map.h"

enum { PATH_BYTES = 4096 };

typedef struct unpack_job {
    sa2_pack *pack;
    sa2_output_folder folder;
    sa2_shard_options shards;
    sa2_native_progress progress;
} unpack_job;

/* ---- configuration and tokenizer ---- */

/* Names come out of a file: nothing but what conversion puts there becomes a path. */
static const char *text_name(const sa2_pack_block *block)
{
    const char *name = strncmp(block->name, "file/", 5) == 0 ? block->name + 5 : NULL;
    if (name == NULL || strcmp(name, "token2wav/flow.yaml") == 0)
        return name;
    return name[0] != '.' && strchr(name, '/') == NULL ? name : NULL;
}

static sa2_status write_texts(const unpack_job *job, bool *speaks, sa2_error *err)
{
    sa2_status st = SA2_OK;
    *speaks = sa2_pack_find(job->pack, "file/token2wav/flow.yaml") != NULL;
    if (*speaks)
        st = sa2_output_folder_add(&job->folder, "token2wav", err);
    for (int i = 0; st == SA2_OK && i < sa2_pack_n_blocks(job->pack); i++) {
        char path[PATH_BYTES];
        const sa2_pack_block *block = sa2_pack_get_block(job->pack, i);
        const char *name = text_name(block);
        if (name == NULL)
            continue;
        int n = snprintf(path, sizeof path, "%s/%s", job->folder.path, name);
        st = n > 0 && n < (int)sizeof path
                 ? sa2_write_whole_file(path, block->data, (size_t)block->bytes, err)
                 : sa2_fail(err, SA2_ERR_FORMAT, "%s: no name of a file", block->name);
    }
    return st;
}

/* ---- weights ---- */

static sa2_status list_map(sa2_tensor_list *list, const sa2_tensor_map *map, sa2_error *err)
{
    sa2_status st = SA2_OK;
    for (int i = 0; st == SA2_OK && i < sa2_tensor_map_count(map); i++) {
        const sa2_tensor_entry *entry = sa2_tensor_map_entry(map, i);
        st = sa2_tensor_list_add(list, entry->tensor.dtype, entry->tensor.ndim, entry->tensor.shape,
                                 err, "%s", entry->name);
    }
    return st;
}

/* Into shards, or into one file when there is a path. */
static sa2_status write_part(const unpack_job *job, const char *part, const char *path,
                             sa2_error *err)
{
    sa2_tensor_map *map = NULL;
    sa2_tensor_list list = {0};
    sa2_status st = sa2_pack_map_open(&map, job->pack, part, err);
    if (st == SA2_OK)
        st = list_map(&list, map, err);
    if (st == SA2_OK && path != NULL)
        st = sa2_shard_write(path, &list, map, &job->shards, err);
    else if (st == SA2_OK)
        st = sa2_shards_write(job->folder.path, &list, map, &job->shards, err);
    sa2_tensor_list_destroy(&list);
    sa2_tensor_map_destroy(map);
    return st;
}

static sa2_status write_weights(const unpack_job *job, bool speaks, sa2_error *err)
{
    sa2_status st = write_part(job, SA2_PACK_MODEL, NULL, err);
    for (int i = 0; st == SA2_OK && speaks && i < SA2_TOKEN2WAV_FILES; i++) {
        char name[64], path[PATH_BYTES];
        sa2_token2wav_safetensors_name(name, sizeof name, (sa2_token2wav_file)i);
        snprintf(path, sizeof path, "%s/token2wav/%s", job->folder.path, name);
        st = write_part(job, sa2_pack_token2wav_part((sa2_token2wav_file)i), path, err);
    }
    return st;
}

sa2_status sa2_native_unpack(const char *path, const char *folder,
                             const sa2_native_options *options, sa2_error *err)
{
    unpack_job job = {.progress = {.options = options}};
    const sa2_pack_progress asked = {.go_on = sa2_native_go_on, .context = &job.progress};
    sa2_error report = {0};
    bool speaks = false;
    int n_threads = options->n_threads > 0 ? options->n_threads : 1;
    job.shards = (sa2_shard_options){
        .n_threads = n_threads, .go_on = sa2_native_go_on, .context = &job.progress};
    sa2_status st = sa2_pack_open(&job.pack, path, &report);
    if (st == SA2_OK) {
        job.progress.total = 2 * (int64_t)sa2_pack_bytes(job.pack);
        st = sa2_output_folder_create(&job.folder, folder, (int64_t)sa2_pack_bytes(job.pack),
                                      &report);
    }
    if (st == SA2_OK)
        st = sa2_pack_check_all(job.pack, n_threads, &asked, &report);
    if (st == SA2_OK)
        st = write_texts(&job, &speaks, &report);
    if (st == SA2_OK)
        st = write_weights(&job, speaks, &report);
    if (st == SA2_OK)
        st = sa2_output_folder_commit(&job.folder, &report);
    if (st == SA2_OK)
        sa2_native_end(&job.progress);
    else if (err != NULL)
        *err = report;
    sa2_output_folder_destroy(&job.folder);
    sa2_pack_close(job.pack);
    return st;
}
