#include "runtime/vocabulary.h"

sa2_status sa2_vocabulary_of(sa2_vocabulary *vocabulary, const sa2_vocab_file *file, sa2_error *err)
{
    *vocabulary = (sa2_vocabulary){0};
    const sa2_tokenizer_source source = {
        .vocab = file->vocab,
        .merges = file->merges,
        .added = file->added,
        .n_vocab = (size_t)file->n_vocab,
        .n_merges = (size_t)file->n_merges,
        .n_added = (size_t)file->n_added,
    };
    sa2_status st = sa2_tokenizer_create(&vocabulary->tokenizer, &source, err);
    if (st == SA2_OK)
        st = sa2_special_find(&vocabulary->special, vocabulary->tokenizer, err);
    if (st != SA2_OK)
        sa2_vocabulary_close(vocabulary);
    return st;
}

sa2_status sa2_vocabulary_open(sa2_vocabulary *vocabulary, const char *path, sa2_error *err)
{
    *vocabulary = (sa2_vocabulary){0};
    sa2_vocab_file file = {0};
    if (sa2_pack_is(path)) {
        sa2_pack *pack = NULL;
        sa2_status st = sa2_pack_open(&pack, path, err);
        if (st == SA2_OK)
            st = sa2_vocabulary_open_pack(vocabulary, pack, err);
        sa2_pack_close(pack);
        return st;
    }
    sa2_status st = sa2_vocab_file_load(&file, path, err);
    if (st == SA2_OK)
        st = sa2_vocabulary_of(vocabulary, &file, err);
    sa2_vocab_file_destroy(&file);
    return st;
}

sa2_status sa2_vocabulary_open_pack(sa2_vocabulary *vocabulary, const sa2_pack *pack,
                                    sa2_error *err)
{
    *vocabulary = (sa2_vocabulary){0};
    sa2_vocab_file file = {0};
    sa2_status st = sa2_vocab_file_load_pack(&file, pack, err);
    if (st == SA2_OK)
        st = sa2_vocabulary_of(vocabulary, &file, err);
    sa2_vocab_file_destroy(&file);
    return st;
}

void sa2_vocabulary_close(sa2_vocabulary *vocabulary)
{
    sa2_tokenizer_destroy(vocabulary->tokenizer);
    *vocabulary = (sa2_vocabulary){0};
}
