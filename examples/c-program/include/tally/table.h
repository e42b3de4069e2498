/* A table of words, each with how often it was added. */
#ifndef TALLY_TABLE_H
#define TALLY_TABLE_H

#include <stddef.h>

struct entry {
    char *word;
    unsigned count;
    struct entry *next;
};

struct table {
    struct entry *slots[256];
    size_t size;
};

void table_add(struct table *table, const char *word);
unsigned table_count(const struct table *table, const char *word);
/* All entries, the most frequent first, words of one count by the alphabet; the caller frees the array. */
struct entry **table_ranked(const struct table *table);
void table_free(struct table *table);

#endif
