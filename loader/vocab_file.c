#include "loader/vocab_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/base/limits.h"
#include "loader/mapped_file.h"
#include "loader/vocab_builder.h"

enum { PATH_BYTES = 4096 };

/* ---- tokenizer.json ---- */

static void add_entries(sa2_vocab_builder *b, const char *origin, json_t *entries)
{
    const char *symbols;
    json_t *id;
    if (!json_is_object(entries)) {
        sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: a vocabulary {symbols: id} expected", origin);
        return;
    }
    json_object_foreach(entries, symbols, id)
    {
        if (json_is_integer(id))
            sa2_vocab_add_entry(b, origin, symbols, json_integer_value(id));
        else
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: the id of %s is no whole number", origin,
                               symbols);
    }
}

/* "left right". */
static void add_merge_line(sa2_vocab_builder *b, const char *origin, int rank, const char *line,
                           size_t n)
{
    const char *space = memchr(line, ' ', n);
    size_t n_left = space != NULL ? (size_t)(space - line) : 0;
    size_t n_right = space != NULL ? n - n_left - 1 : 0;
    if (n_left == 0 || n_right == 0 || memchr(space + 1, ' ', n_right) != NULL ||
        memchr(line, '\0', n) != NULL)
        sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: merge %d: two symbols and a space expected",
                           origin, rank);
    else
        sa2_vocab_add_merge(b, origin, line, n_left, space + 1, n_right);
}

/* A list of "left right", or of ["left", "right"]. */
static void add_merges(sa2_vocab_builder *b, const char *origin, const json_t *merges)
{
    size_t rank;
    const json_t *merge;
    if (!json_is_array(merges)) {
        sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: model.merges: a list expected", origin);
        return;
    }
    json_array_foreach(merges, rank, merge)
    {
        const char *left = json_string_value(json_array_get(merge, 0));
        const char *right = json_string_value(json_array_get(merge, 1));
        if (json_is_string(merge))
            add_merge_line(b, origin, (int)rank, json_string_value(merge),
                           json_string_length(merge));
        else if (json_array_size(merge) == 2 && left != NULL && right != NULL)
            sa2_vocab_add_merge(b, origin, left, strlen(left), right, strlen(right));
        else
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: merge %d: two symbols expected", origin,
                               (int)rank);
    }
}

/* {content, special, ...}. The tokenizer matches added tokens in the raw text and keeps the spaces
 * around them, which is what all flags false means. */
static void add_token(sa2_vocab_builder *b, const char *origin, json_int_t id, const json_t *token)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
    const char *content = json_string_value(json_object_get(token, "content"));
    if (content == NULL || content[0] == '\0') {
        sa2_vocab_complain(b, SA2_ERR_FORMAT,
                           "%s: added token %" JSON_INTEGER_FORMAT ": content expected", origin,
                           id);
        return;
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (json_is_true(json_object_get(token, flags[i])))
            sa2_vocab_complain(b, SA2_ERR_UNSUPPORTED, "%s: added token %s: %s false expected",
                               origin, content, flags[i]);
    sa2_vocab_add_added(b, origin, content, id, json_is_true(json_object_get(token, "special")));
}

static void add_token_list(sa2_vocab_builder *b, const char *origin, const json_t *tokens)
{
    size_t i;
    const json_t *token;
    sa2_vocab_next_source(b);
    json_array_foreach(tokens, i, token)
    {
        const json_t *id = json_object_get(token, "id");
        if (json_is_integer(id))
            add_token(b, origin, json_integer_value(id), token);
        else
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: added_tokens[%zu]: an id expected", origin,
                               i);
    }
}

static void add_model(sa2_vocab_builder *b, const char *origin, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type != NULL && strcmp(type, "BPE") != 0)
        sa2_vocab_complain(b, SA2_ERR_UNSUPPORTED, "%s: model.type: BPE expected, %s found", origin,
                           type);
    add_entries(b, origin, json_object_get(model, "vocab"));
    add_merges(b, origin, json_object_get(model, "merges"));
}

/* ---- the other files ---- */

/* Rank is the order of the lines but for a first one that begins with "#version:" and empty ones. */
static void add_merges_txt(sa2_vocab_builder *b, const char *origin, const char *text, size_t n)
{
    int rank = 0;
    const char *end = text + n;
    for (const char *line = text; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *stop = newline != NULL ? newline : end;
        size_t length = (size_t)(stop - line);
        if (length > 0 && line[length - 1] == '\r')
            length--;
        bool is_version = line == text && length >= 9 && memcmp(line, "#version:", 9) == 0;
        if (length > 0 && !is_version)
            add_merge_line(b, origin, rank++, line, length);
        line = stop + 1;
    }
}

/* {"151643": {content, special, ...}, ...} */
static void add_decoder(sa2_vocab_builder *b, const char *origin, json_t *decoder)
{
    const char *key;
    const json_t *token;
    sa2_vocab_next_source(b);
    /* json_object_foreach() needs a value that is not const. */
    for (void *i = json_object_iter(decoder); i != NULL; i = json_object_iter_next(decoder, i)) {
        key = json_object_iter_key(i);
        token = json_object_iter_value(i);
        char *end;
        errno = 0;
        long long id = strtoll(key, &end, 10);
        if (errno != 0 || end == key || *end != '\0')
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: added_tokens_decoder: %s is no id", origin,
                               key);
        else
            add_token(b, origin, id, token);
    }
}

static void add_added_tokens(sa2_vocab_builder *b, const char *origin, json_t *tokens)
{
    const char *content;
    json_t *id;
    sa2_vocab_next_source(b);
    json_object_foreach(tokens, content, id)
    {
        if (json_is_integer(id) && content[0] != '\0')
            sa2_vocab_add_added(b, origin, content, json_integer_value(id), false);
        else
            sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: {token: id} expected at %s", origin,
                               content);
    }
}

/* A name is a string, or an object with its content. */
static const char *content_of(const json_t *token)
{
    return json_is_object(token) ? json_string_value(json_object_get(token, "content"))
                                 : json_string_value(token);
}

static void name_eos_and_pad(sa2_vocab_builder *b, const json_t *root)
{
    const char *eos = content_of(json_object_get(root, "eos_token"));
    const char *pad = content_of(json_object_get(root, "pad_token"));
    if (b->vocab.eos == NULL && eos != NULL)
        b->vocab.eos = sa2_vocab_text(b, eos);
    if (b->vocab.pad == NULL && pad != NULL)
        b->vocab.pad = sa2_vocab_text(b, pad);
}

static void mark_special_tokens(sa2_vocab_builder *b, const json_t *root)
{
    size_t i;
    const json_t *token;
    json_array_foreach(json_object_get(root, "additional_special_tokens"), i, token)
    {
        const char *content = content_of(token);
        if (content != NULL)
            sa2_vocab_mark_special(b, content);
    }
    if (b->vocab.eos != NULL)
        sa2_vocab_mark_special(b, b->vocab.eos);
    if (b->vocab.pad != NULL)
        sa2_vocab_mark_special(b, b->vocab.pad);
}

/* ---- a folder ---- */

static json_t *parse_json(sa2_vocab_builder *b, const char *origin, const char *text, size_t n)
{
    json_error_t where;
    if (n > SA2_LIMIT_TOKENIZER_BYTES) {
        sa2_vocab_complain(b, SA2_ERR_LIMIT, "%s: %zu bytes, at most %d expected", origin, n,
                           SA2_LIMIT_TOKENIZER_BYTES);
        return NULL;
    }
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL)
        sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: line %d: %s", origin, where.line, where.text);
    if (root == NULL || json_is_object(root))
        return root;
    sa2_vocab_complain(b, SA2_ERR_FORMAT, "%s: not a JSON object", origin);
    json_decref(root);
    return NULL;
}

/* Where the files are: a folder, or a native file. */
typedef struct file_set {
    const char *folder;
    const sa2_pack *pack; /* NULL: in the folder */
} file_set;

typedef struct open_file {
    char origin[PATH_BYTES]; /* for messages */
    const char *text;
    size_t bytes;
    sa2_mapped_file mapped; /* empty in a pack */
} open_file;

static bool open_in_folder(sa2_vocab_builder *b, open_file *file, sa2_error *failure)
{
    if (access(file->origin, F_OK) != 0)
        return false;
    if (sa2_mapped_file_open(&file->mapped, file->origin, failure) == SA2_OK) {
        file->text = (const char *)file->mapped.data;
        file->bytes = file->mapped.bytes;
        return true;
    }
    sa2_vocab_complain(b, failure->status, "%s", failure->message);
    return false;
}

/* False when the file is not there, or after a complaint. */
static bool open_optional(sa2_vocab_builder *b, const file_set *files, const char *name,
                          open_file *file)
{
    sa2_error failure = {0};
    *file = (open_file){0};
    int n = snprintf(file->origin, PATH_BYTES, "%s/%s", files->folder, name);
    if (n < 0 || n >= PATH_BYTES) {
        sa2_vocab_complain(b, SA2_ERR_ARG, "%s: the path is too long", files->folder);
        return false;
    }
    if (files->pack == NULL)
        return open_in_folder(b, file, &failure);
    if (sa2_pack_file(files->pack, name, &file->text, &file->bytes, &failure) != SA2_OK)
        sa2_vocab_complain(b, failure.status, "%s", failure.message);
    return file->text != NULL;
}

/* NULL when the file is not there, or after a complaint. */
static json_t *read_optional(sa2_vocab_builder *b, const file_set *files, const char *name,
                             open_file *file)
{
    if (!open_optional(b, files, name, file))
        return NULL;
    json_t *root = parse_json(b, file->origin, file->text, file->bytes);
    sa2_mapped_file_close(&file->mapped);
    return root;
}

static void add_two_files(sa2_vocab_builder *b, const file_set *files)
{
    open_file file;
    json_t *entries = read_optional(b, files, "vocab.json", &file);
    if (entries != NULL)
        add_entries(b, file.origin, entries);
    else if (b->status == SA2_OK)
        sa2_vocab_complain(b, SA2_ERR_IO,
                           "%s: tokenizer.json, or vocab.json and merges.txt expected",
                           files->folder);
    json_decref(entries);
    if (open_optional(b, files, "merges.txt", &file)) {
        add_merges_txt(b, file.origin, file.text, file.bytes);
        sa2_mapped_file_close(&file.mapped);
    } else if (b->status == SA2_OK) {
        sa2_vocab_complain(b, SA2_ERR_IO, "%s: merges.txt expected beside vocab.json",
                           files->folder);
    }
}

static sa2_status load(sa2_vocab_file *vocab, const file_set *files, sa2_error *err)
{
    open_file file;
    sa2_error report = {0};
    sa2_vocab_builder b = {.err = &report};

    json_t *config = read_optional(&b, files, "tokenizer_config.json", &file);
    add_decoder(&b, file.origin, json_object_get(config, "added_tokens_decoder"));
    name_eos_and_pad(&b, config);

    json_t *tokenizer = read_optional(&b, files, "tokenizer.json", &file);
    if (tokenizer != NULL) {
        add_model(&b, file.origin, tokenizer);
        add_token_list(&b, file.origin, json_object_get(tokenizer, "added_tokens"));
    } else if (b.status == SA2_OK) {
        add_two_files(&b, files);
    }
    json_t *added = read_optional(&b, files, "added_tokens.json", &file);
    add_added_tokens(&b, file.origin, added);
    json_t *special = read_optional(&b, files, "special_tokens_map.json", &file);
    name_eos_and_pad(&b, special);
    mark_special_tokens(&b, special);

    sa2_status st = sa2_vocab_builder_finish(&b, vocab);
    if (st != SA2_OK && err != NULL)
        *err = report;
    json_decref(special);
    json_decref(added);
    json_decref(tokenizer);
    json_decref(config);
    sa2_vocab_builder_destroy(&b);
    return st;
}

const char *const sa2_vocab_file_names[SA2_VOCAB_FILES] = {
    "vocab.json",        "merges.txt",
    "tokenizer.json",    "tokenizer_config.json",
    "added_tokens.json", "special_tokens_map.json"};

sa2_status sa2_vocab_file_load(sa2_vocab_file *vocab, const char *folder, sa2_error *err)
{
    return load(vocab, &(file_set){.folder = folder}, err);
}

sa2_status sa2_vocab_file_load_pack(sa2_vocab_file *vocab, const sa2_pack *pack, sa2_error *err)
{
    return load(vocab, &(file_set){.folder = sa2_pack_path(pack), .pack = pack}, err);
}

sa2_status sa2_vocab_file_parse(sa2_vocab_file *vocab, const char *text, size_t bytes,
                                const char *origin, sa2_error *err)
{
    sa2_error report = {0};
    sa2_vocab_builder b = {.err = &report};
    json_t *root = parse_json(&b, origin, text, bytes);
    if (root != NULL) {
        add_model(&b, origin, root);
        add_token_list(&b, origin, json_object_get(root, "added_tokens"));
    }
    sa2_status st = sa2_vocab_builder_finish(&b, vocab);
    if (st != SA2_OK && err != NULL)
        *err = report;
    json_decref(root);
    sa2_vocab_builder_destroy(&b);
    return st;
}

void sa2_vocab_file_destroy(sa2_vocab_file *vocab)
{
    free(vocab->vocab);
    free(vocab->merges);
    free(vocab->added);
    sa2_text_pool_destroy(&vocab->text);
    *vocab = (sa2_vocab_file){0};
}
