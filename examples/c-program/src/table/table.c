#include "tally/table.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

static struct entry *find(const struct table *table, const char *word)
{
    struct entry *entry = table->slots[hash(word)];
    while (entry && strcmp(entry->word, word))
        entry = entry->next;
    return entry;
}

void table_add(struct table *table, const char *word)
{
    struct entry *entry = find(table, word);
    if (!entry) {
        struct entry **slot = &table->slots[hash(word)];
        entry = calloc(1, sizeof *entry);
        entry->word = strcpy(malloc(strlen(word) + 1), word);
        entry->next = *slot;
        *slot = entry;
        table->size++;
    }
    entry->count++;
}

unsigned table_count(const struct table *table, const char *word)
{
    const struct entry *entry = find(table, word);
    return entry ? entry->count : 0;
}
