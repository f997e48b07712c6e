#include "runtime/vocabulary.h"

#include "loader/vocab_file.h"

sa2_status sa2_vocabulary_open(sa2_vocabulary *vocabulary, const char *folder, sa2_error *err)
{
    *vocabulary = (sa2_vocabulary){0};
    sa2_vocab_file file = {0};
    sa2_status st = sa2_vocab_file_load(&file, folder, err);
    if (st != SA2_OK)
        return st;
    const sa2_tokenizer_source source = {
        .vocab = file.vocab,
        .merges = file.merges,
        .added = file.added,
        .n_vocab = (size_t)file.n_vocab,
        .n_merges = (size_t)file.n_merges,
        .n_added = (size_t)file.n_added,
    };
    st = sa2_tokenizer_create(&vocabulary->tokenizer, &source, err);
    if (st == SA2_OK)
        st = sa2_special_find(&vocabulary->special, vocabulary->tokenizer, err);
    sa2_vocab_file_destroy(&file);
    if (st != SA2_OK)
        sa2_vocabulary_close(vocabulary);
    return st;
}

void sa2_vocabulary_close(sa2_vocabulary *vocabulary)
{
    sa2_tokenizer_destroy(vocabulary->tokenizer);
    *vocabulary = (sa2_vocabulary){0};
}
