// Chats in groups, by the day on which they were last used. No page.

const MONTH = new Intl.DateTimeFormat("en", { month: "long", year: "numeric" });

/** Chats, the newest first, as `{name, chats}` for each group that has any. */
export function byDay(chats, now) {
  const groups = new Map();
  const nameOf = naming(new Date(now));
  for (const chat of chats) {
    const name = nameOf(chat.used);
    if (!groups.has(name)) groups.set(name, { name, chats: [] });
    groups.get(name).chats.push(chat);
  }
  return [...groups.values()];
}

/** A function from the time at which a chat was used to the name of its group. */
function naming(now) {
  // Days are an hour shorter or longer where clocks are put forward or back.
  const since = (days) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - days).getTime();
  const names = [["Today", since(0)], ["Yesterday", since(1)], ["Previous 7 days", since(7)], ["Previous 30 days", since(30)]];
  const months = new Map();
  return (used) => names.find(([, start]) => used >= start)?.[0] ?? monthOf(new Date(used), months);
}

/** To write its name takes longer than all the rest. */
function monthOf(day, months) {
  const month = day.getFullYear() * 12 + day.getMonth();
  if (!months.has(month)) months.set(month, MONTH.format(day));
  return months.get(month);
}
