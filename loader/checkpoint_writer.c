#define _XOPEN_SOURCE 700 /* nftw */
#include "loader/checkpoint_writer.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "loader/expected_tensors.h"
#include "loader/mapped_file.h"
#include "loader/output_file.h"
#include "loader/ranges.h"
#include "loader/safetensors_writer.h"
#include "loader/synthetic.h"
#include "loader/synthetic_vocab.h"
#include "loader/token2wav_writer.h"
#include "loader/tokenizer_writer.h"

enum {
    PATH_BYTES = 4096,
    PIECE = 1 << 22, /* elements that are made before they are written */
    GRAIN = 1 << 17, /* elements that a thread makes at a time */
};

static const int64_t default_shard_bytes = 5000000000; /* as in the release */

/* One checkpoint that is being written. */
typedef struct checkpoint_job {
    const sa2_preset *preset;
    const sa2_checkpoint_options *options;
    char folder[PATH_BYTES -
                256]; /* where the files lie until they are complete; names fit behind it */
    sa2_tensor_list list;
    sa2_tensor_map *map;
    void *piece;
    int64_t done_bytes, total_bytes; /* of the values of all files */
} checkpoint_job;

static sa2_status write_text(const checkpoint_job *job, const char *name, const char *text,
                             sa2_error *err)
{
    char path[PATH_BYTES];
    if (text == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", name);
    snprintf(path, sizeof path, "%s/%s", job->folder, name);
    return sa2_write_whole_file(path, text, strlen(text), err);
}

/* Called with the bytes of values that were written since the last call. */
static void add_progress(void *context, int64_t bytes)
{
    checkpoint_job *job = context;
    job->done_bytes += bytes;
    if (job->options->progress != NULL)
        job->options->progress(job->options->context, job->done_bytes, job->total_bytes);
}

/* ---- weights ---- */

typedef struct piece_of_values {
    const checkpoint_job *job;
    const sa2_tensor_entry *entry;
    int64_t first; /* of the piece in the tensor */
} piece_of_values;

static sa2_status make_range(void *context, int64_t first, int64_t count, sa2_error *err)
{
    const piece_of_values *piece = context;
    size_t size = sa2_dtype_bytes(piece->entry->tensor.dtype);
    return sa2_tensor_map_read(piece->job->map, piece->entry, piece->first + first, count,
                               (char *)piece->job->piece + (size_t)first * size, err);
}

static sa2_status write_tensor(checkpoint_job *job, sa2_safetensors_writer *writer,
                               const char *name, sa2_error *err)
{
    const sa2_tensor_entry *entry = sa2_tensor_map_find(job->map, name);
    int64_t n = sa2_tensor_count(&entry->tensor);
    for (int64_t first = 0; first < n; first += PIECE) {
        int64_t count = n - first < PIECE ? n - first : PIECE;
        size_t bytes = (size_t)count * sa2_dtype_bytes(entry->tensor.dtype);
        piece_of_values piece = {.job = job, .entry = entry, .first = first};
        sa2_status st =
            sa2_ranges_run(job->options->n_threads, count, GRAIN, make_range, &piece, err);
        if (st == SA2_OK)
            st = sa2_safetensors_writer_append(writer, job->piece, bytes, err);
        if (st != SA2_OK)
            return st;
        add_progress(job, (int64_t)bytes);
    }
    return SA2_OK;
}

/* Items [first, first + n) of the list, in a file of their own. */
static sa2_status write_shard(checkpoint_job *job, const char *name, int first, int n,
                              sa2_error *err)
{
    static const sa2_metadata metadata[] = {{"format", "pt"}}; /* transformers insists on it */
    char path[PATH_BYTES];
    sa2_safetensors_writer *writer = NULL;
    sa2_tensor_list shard = {.n = n, .items = job->list.items + first};
    snprintf(path, sizeof path, "%s/%s", job->folder, name);
    sa2_status st = sa2_safetensors_writer_create(&writer, path, &shard, metadata, 1, err);
    for (int i = 0; st == SA2_OK && i < n; i++)
        st = write_tensor(job, writer, shard.items[i].name, err);
    if (st == SA2_OK)
        st = sa2_safetensors_writer_finish(writer, err);
    sa2_safetensors_writer_destroy(writer);
    return st;
}

/* How many items from `first` on go into one shard: as many as fit, and at least one. */
static int shard_length(const checkpoint_job *job, int first)
{
    uint64_t limit =
        (uint64_t)(job->options->shard_bytes > 0 ? job->options->shard_bytes : default_shard_bytes);
    uint64_t bytes = 0;
    int n = 0;
    while (first + n < job->list.n) {
        bytes += sa2_tensor_bytes(&job->list.items[first + n].shape);
        if (n > 0 && bytes > limit)
            break;
        n++;
    }
    return n;
}

static sa2_status write_index(const checkpoint_job *job, json_t *weight_map, sa2_error *err)
{
    json_t *index =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size",
                  (json_int_t)sa2_tensor_list_bytes(&job->list), "weight_map", weight_map);
    char *text = index != NULL ? json_dumps(index, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    sa2_status st = write_text(job, "model.safetensors.index.json", text, err);
    free(text);
    json_decref(index);
    return st;
}

static sa2_status write_weights(checkpoint_job *job, sa2_error *err)
{
    int n_shards = 0;
    for (int first = 0; first < job->list.n; first += shard_length(job, first))
        n_shards++;
    sa2_status st = SA2_OK;
    json_t *weight_map = json_object();
    for (int first = 0, shard = 1; st == SA2_OK && first < job->list.n; shard++) {
        char name[64];
        int n = shard_length(job, first);
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", shard, n_shards);
        st = write_shard(job, name, first, n, err);
        for (int i = first; i < first + n; i++)
            json_object_set_new(weight_map, job->list.items[i].name, json_string(name));
        first += n;
    }
    if (st == SA2_OK)
        st = write_index(job, weight_map, err);
    json_decref(weight_map);
    return st;
}

static sa2_status write_token2wav(checkpoint_job *job, sa2_error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/token2wav", job->folder);
    if (mkdir(path, 0777) != 0)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", path, strerror(errno));
    sa2_write_progress progress = {.call = add_progress, .context = job};
    return sa2_token2wav_write(path, job->preset, job->options->seed, progress, err);
}

/* ---- configuration and tokenizer ---- */

static sa2_status write_config(const checkpoint_job *job, sa2_error *err)
{
    char *text = sa2_model_config_json(&job->preset->config);
    sa2_status st = write_text(job, "config.json", text, err);
    free(text);
    return st;
}

/* Its ids must lie in the embedding. */
static sa2_status check_tokenizer(const checkpoint_job *job, sa2_error *err)
{
    sa2_vocab_file vocab = {0};
    int rows = job->preset->config.decoder.vocab;
    sa2_status st = sa2_vocab_file_load(&vocab, job->options->tokenizer, err);
    if (st != SA2_OK)
        return st;
    int last = vocab.vocab[vocab.n_vocab - 1].id;
    if (vocab.n_added > 0 && vocab.added[vocab.n_added - 1].id > last)
        last = vocab.added[vocab.n_added - 1].id;
    if (last >= rows)
        st = sa2_fail(err, SA2_ERR_ARG, "tokenizer %s: ids to %d, preset %s has %d rows",
                      job->options->tokenizer, last, job->preset->name, rows);
    sa2_vocab_file_destroy(&vocab);
    return st;
}

static sa2_status copy_tokenizer(const checkpoint_job *job, sa2_error *err)
{
    static const char *const names[] = {"vocab.json",        "merges.txt",
                                        "tokenizer.json",    "tokenizer_config.json",
                                        "added_tokens.json", "special_tokens_map.json"};
    sa2_status st = check_tokenizer(job, err);
    for (size_t i = 0; st == SA2_OK && i < sizeof names / sizeof names[0]; i++) {
        char from[PATH_BYTES], to[PATH_BYTES];
        sa2_mapped_file file;
        snprintf(from, sizeof from, "%s/%s", job->options->tokenizer, names[i]);
        snprintf(to, sizeof to, "%s/%s", job->folder, names[i]);
        if (access(from, F_OK) != 0)
            continue; /* not all releases have all six, and those that are there were judged */
        st = sa2_mapped_file_open(&file, from, err);
        if (st != SA2_OK)
            break;
        st = sa2_write_whole_file(to, file.data, file.bytes, err);
        sa2_mapped_file_close(&file);
    }
    return st;
}

static sa2_status write_tokenizer(const checkpoint_job *job, sa2_error *err)
{
    if (job->options->tokenizer != NULL)
        return copy_tokenizer(job, err);
    sa2_vocab_file vocab = {0};
    sa2_status st = sa2_synthetic_vocab(&vocab, job->preset, err);
    if (st == SA2_OK)
        st = sa2_tokenizer_write(job->folder, &vocab, job->preset->config.decoder.max_positions,
                                 err);
    sa2_vocab_file_destroy(&vocab);
    return st;
}

/* ---- the folder ---- */

/* Missing or empty. */
static sa2_status check_place(const char *folder, sa2_error *err)
{
    DIR *entries = opendir(folder);
    if (entries == NULL && errno == ENOENT)
        return SA2_OK;
    if (entries == NULL)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", folder, strerror(errno));
    int n = 0;
    while (readdir(entries) != NULL)
        n++;
    closedir(entries);
    if (n > 2) /* "." and ".." */
        return sa2_fail(err, SA2_ERR_ARG, "%s: a new or empty folder expected, %d entries found",
                        folder, n - 2);
    return SA2_OK;
}

static sa2_status begin_folder(checkpoint_job *job, const char *folder, size_t length,
                               sa2_error *err)
{
    int n = snprintf(job->folder, sizeof job->folder, "%.*s.partial-%ld", (int)length, folder,
                     (long)getpid());
    if (n < 0 || (size_t)n >= sizeof job->folder)
        return sa2_fail(err, SA2_ERR_ARG, "%s: the path is too long", folder);
    if (mkdir(job->folder, 0777) != 0) {
        sa2_fail(err, SA2_ERR_IO, "%s: %s", job->folder, strerror(errno));
        job->folder[0] = '\0'; /* nothing of ours to remove */
        return SA2_ERR_IO;
    }
    struct statvfs disk;
    if (statvfs(job->folder, &disk) != 0)
        return SA2_OK; /* then a full disk shows when it is full */
    double free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    if (free_bytes < (double)job->total_bytes)
        return sa2_fail(err, SA2_ERR_IO, "%s: %.2f GB are needed, %.2f GB free", folder,
                        (double)job->total_bytes / 1e9, free_bytes / 1e9);
    return SA2_OK;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static sa2_status plan(checkpoint_job *job, sa2_error *err)
{
    sa2_status st = sa2_expected_tensors(&job->list, &job->preset->config, err);
    if (st == SA2_OK)
        st = sa2_synthetic_map(&job->map, job->preset, job->options->seed, err);
    if (st != SA2_OK)
        return st;
    uint64_t token2wav_bytes = 0;
    st = sa2_token2wav_bytes(&token2wav_bytes, job->preset, err);
    if (st != SA2_OK)
        return st;
    job->total_bytes = (int64_t)(sa2_tensor_list_bytes(&job->list) + token2wav_bytes);
    job->piece = malloc(PIECE * sizeof(float));
    if (job->piece == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory for %zu bytes", PIECE * sizeof(float));
    return SA2_OK;
}

sa2_status sa2_checkpoint_write(const char *folder, const sa2_preset *preset,
                                const sa2_checkpoint_options *options, sa2_error *err)
{
    checkpoint_job job = {.preset = preset, .options = options};
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    sa2_status st = check_place(folder, err);
    if (st == SA2_OK)
        st = plan(&job, err);
    if (st == SA2_OK)
        st = begin_folder(&job, folder, length, err);
    if (st == SA2_OK)
        st = write_config(&job, err);
    if (st == SA2_OK)
        st = write_tokenizer(&job, err);
    if (st == SA2_OK)
        st = write_weights(&job, err);
    if (st == SA2_OK)
        st = write_token2wav(&job, err);
    if (st == SA2_OK && rename(job.folder, folder) != 0)
        st = sa2_fail(err, SA2_ERR_IO, "%s: %s", folder, strerror(errno));
    if (st != SA2_OK && job.folder[0] != '\0')
        nftw(job.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(job.piece);
    sa2_tensor_map_destroy(job.map);
    sa2_tensor_list_destroy(&job.list);
    return st;
}
