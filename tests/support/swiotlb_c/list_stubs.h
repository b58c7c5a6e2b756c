/* Lists, locks and RCU for one thread. */
#ifndef LIST_STUBS_H
#define LIST_STUBS_H

#define container_of list_entry
#define LIST_HEAD_INIT(list) { &(list), &(list) }
#define list_del_rcu list_del
#define smp_mb() do { } while (0)
#define smp_rmb() do { } while (0)
#define INIT_LIST_HEAD(list) ((list)->next = (list)->prev = (list))
#define list_entry(pointer, type, member) \
	((type *)((char *)(pointer) - offsetof(type, member)))
#define list_for_each_safe(at, after, head) \
	for (at = (head)->next, after = at->next; at != (head); at = after, after = at->next)
#define list_for_each_entry_rcu(at, head, member) \
	for (at = list_entry((head)->next, __typeof__(*at), member); &at->member != (head); \
	     at = list_entry(at->member.next, __typeof__(*at), member))
static inline void list_add_rcu(struct list_head *entry, struct list_head *head)
{
	entry->next = head->next;
	entry->prev = head;
	head->next->prev = entry;
	head->next = entry;
}
static inline void list_del(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	entry->prev->next = entry->next;
}
#define rcu_read_lock() do { } while (0)
#define rcu_read_unlock() do { } while (0)
#define spin_lock(lock) (void)(lock)
#define spin_unlock(lock) (void)(lock)

#endif
