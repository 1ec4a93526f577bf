// Keeps the end of a chat in sight while it grows, unless the person looks elsewhere.

const NEAR = 48;

export class Scroll {
  #following = true;
  #top = 0;

  /** `button` leads to the end, and is shown where that is out of sight. */
  constructor(area, button) {
    this.area = area;
    this.button = button;
    area.addEventListener("scroll", () => this.#look(), { passive: true });
    // What stands below it grows and shrinks with what a person writes, and what is in it once it is looked at.
    const sizes = new ResizeObserver(() => this.follow());
    for (const node of [area, ...area.children]) sizes.observe(node);
    button.addEventListener("click", () => this.toEnd());
  }

  toEnd() {
    this.#following = true;
    this.follow();
  }

  /** Something has grown. */
  follow() {
    if (this.#following) this.area.scrollTop = this.area.scrollHeight;
    this.#look();
  }

  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.area;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR;
    // What grows below, such as a picture that is there at last, moves nothing up: that does a person.
    this.#following = isNear || (this.#following && scrollTop >= this.#top);
    this.#top = scrollTop;
    this.button.hidden = this.#following;
  }
}
